import Foundation
import SwanDistributed
import SwanSystem
import SwanThreads
import Synchronization
import Testing
import Torch

@Suite struct ProcessGroupTests {
    /// On a machine without NCCL or a GPU, the error says what to install, or what is missing.
    @Test func groupsOfGPUsNeedThem() throws {
        guard try Engine.gpuCount() == 0 else { return }
        let store = try StoreService.open(
            "127.0.0.1",
            port: 0,
            isLocal: true,
            deadline: .seconds(5)
        ).store
        let error = #expect(throws: SwanError.self) {
            _ = try ProcessGroup(
                store,
                rank: 0,
                size: 1,
                device: .cuda(0),
                address: "127.0.0.1",
                deadline: .seconds(1)
            )
        }
        #expect(error?.message.contains("bootstrap --cuda") == true)
    }

    /// One process is a group, too: what it exchanges with itself stays the same.
    @Test func oneProcess() throws {
        let store = try StoreService.open(
            "127.0.0.1",
            port: 0,
            isLocal: true,
            deadline: .seconds(5)
        ).store
        let device: Device = try Engine.gpuCount() > 0 ? .cuda(0) : .cpu
        let group = try ProcessGroup(
            store,
            rank: 0,
            size: 1,
            device: device,
            address: "127.0.0.1",
            deadline: .seconds(20)
        )
        let x = try Tensor([1, 2, 3] as [Float], [3]).to(device)
        try group.reduce(x)
        try group.broadcast(x, from: 0)
        try group.barrier()
        #expect(try x.to(.cpu).array(of: Float.self) == [1, 2, 3])
    }

    /// What waits on either side fails when one side closes its connections, long before the
    /// deadline.
    @Test(.timeLimit(.minutes(1))) func abortEndsWhatWaits() throws {
        let failures = try Pair.run { group, rank in
            let others = WorkerThreads()
            for tag in 1...2 {
                try others.start("test.waiting") {
                    try group.startReceive(.zeros([1]), from: 1 - rank, tag: tag).wait()
                }
            }
            try others.start("test.collective") { if rank == 1 { try group.barrier() } }
            if rank == 0 {
                Thread.sleep(forTimeInterval: 0.2)
                group.abort()
                #expect(throws: SwanError.self) {
                    try group.startReceive(.zeros([1]), from: 1, tag: 3).wait()
                }
            }
            others.wait()
            return others.failure as? SwanError
        }
        #expect(failures.map { $0?.code } == [.peerFailed, .peerFailed])
    }

    /// A stage that fails while nothing travels but "I am still there" ends its peer's stages, too.
    @Test(.timeLimit(.minutes(1))) func aSilentPipelineEnds() throws {
        let announced = Mutex<[String]>([])
        let failures = try Pair.run { group, rank in
            let threads = WorkerThreads()
            let post = StagePost(
                group,
                threads: threads,
                announce: { error in announced.withLock { $0.append("\(rank): \(error)") } },
                rows: 2,
                keepAlive: 0.02
            )
            for source in 0...1 {
                _ = try post.open(source, from: source, to: 1 - source, mostBytes: 1_000)
            }
            try post.start("test.failing") { _ in
                Thread.sleep(forTimeInterval: 0.3)
                if rank == 0 { throw SwanError(.invalidData, "broken") }
            }
            threads.wait()
            return threads.failure as? SwanError
        }
        #expect(failures.map { $0?.code } == [.invalidData, .peerFailed])
        #expect(announced.withLock { $0.first } == "0: broken")
    }
}

/// A group of two ranks that are threads of this process.
private enum Pair {
    static func run(
        _ body: @escaping @Sendable (ProcessGroup, Int) throws -> SwanError?
    ) throws -> [SwanError?] {
        let deadline = Duration.seconds(300)
        let service = try StoreService.open(
            "127.0.0.1",
            port: 0,
            isLocal: true,
            deadline: deadline
        )
        let failures = Mutex<[SwanError?]>([nil, nil])
        let ranks = WorkerThreads()
        for rank in 0...1 {
            let store = try service.store.clone()
            try ranks.start("test.rank") {
                let group = try ProcessGroup(
                    store,
                    rank: rank,
                    size: 2,
                    address: "127.0.0.1",
                    deadline: deadline
                )
                let failure = try body(group, rank)
                failures.withLock { $0[rank] = failure }
            }
        }
        ranks.wait()
        if let failure = ranks.failure { throw failure }
        return failures.withLock { $0 }
    }
}
