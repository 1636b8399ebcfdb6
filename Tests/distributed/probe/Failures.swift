import Foundation
import SwanDistributed
import SwanSystem
import Torch

extension Probe {
    /// Sums small tensors over and over.
    ///
    /// - Parameter body: Called before each step.
    func exchange(steps: Int, _ body: (Int) throws -> Void) throws {
        try world.group.barrier()
        print("running")
        fflush(nil)
        for step in 0..<steps {
            try body(step)
            try world.group.reduce(Tensor.ones([4]))
            Thread.sleep(forTimeInterval: 0.05)
        }
    }

    /// The rank of the third argument fails in the way of the second; the others wait for it.
    func fail() throws {
        let way = arguments.dropFirst().first ?? ""
        let victim = world.rank == Int(arguments.dropFirst(2).first ?? "1")
        try exchange(steps: 100_000) { step in
            guard victim, step == 3 else { return }
            switch way {
            case "error": throw SwanError(.invalidData, "chunk 3 is not finite")
            case "kill": kill(getpid(), SIGKILL)
            case "stop": kill(getpid(), SIGSTOP)
            case "leave": _exit(0)
            case let other: throw SwanError(.invalidRequest, "no way to fail '\(other)'")
            }
        }
    }

    /// Rank 1 sends more than rank 0 expects, which ends the process of rank 0.
    func sendTooMuch() throws {
        try exchange(steps: 3) { _ in }
        switch world.rank {
        case 0: try world.group.startReceive(Tensor.zeros([1]), from: 1, tag: 9).wait()
        case 1: try world.group.startSend(Tensor.zeros([8]), to: 0, tag: 9).wait()
        default: break
        }
        try world.group.barrier()
    }

    /// The others are done while rank 0 works for longer than the deadline of an exchange, and then
    /// ends as the second argument says.
    func workAlone() throws {
        try world.group.barrier()
        print("running")
        fflush(nil)
        guard world.rank == 0 else { return }
        Thread.sleep(forTimeInterval: arguments.contains("kill") ? 1 : 6)
        if arguments.contains("kill") { kill(getpid(), SIGKILL) }
        if arguments.contains("error") { throw SwanError(.diskFull, "no space for the file") }
    }
}
