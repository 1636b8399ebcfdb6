import Foundation
import Logging
import SwanPipelines
import SwanSystem

/// Applies OSC messages to sessions: `/swan/NAME` to all, `/swan/session/ID/NAME` to one.
final class OSCController: @unchecked Sendable {
    /// What a sender of messages has set, which later messages refer to.
    private struct Memory {
        var prompts: [StreamChange.WeightedPrompt] = []
        var transition = 0
    }

    /// What an address means: a command for some sessions.
    private struct Target {
        let command: String
        let sessions: [LiveSession]
        /// The session's id; empty for all sessions.
        let memory: String
    }

    /// What became of the packets and messages.
    struct Counts: Equatable, Sendable {
        /// Messages that are commands.
        var applied = 0
        /// Packets that are not OSC, and messages that are no commands.
        var refused = 0
    }

    private let sessions: @Sendable () -> [LiveSession]
    private let maxSteps: Int
    private let log: Logger

    // Everything below is protected by `lock`.
    private let lock = NSLock()
    private var memories: [String: Memory] = [:]
    private var tally = Counts()
    private var event: UInt32 = 0

    init(_ sessions: @escaping @Sendable () -> [LiveSession], maxSteps: Int, log: Logger) {
        self.sessions = sessions
        self.maxSteps = maxSteps
        self.log = log
    }

    var counts: Counts { lock.withLock { tally } }

    /// Takes a packet. What is wrong with it is counted and logged; nobody is there to be told.
    func receive(_ packet: some Collection<UInt8>) {
        do throws(OSCPacketError) {
            for message in try OSCMessage.messages(in: packet) { take(message) }
        } catch {
            refuse("a packet of \(packet.count) bytes: \(error)")
        }
    }

    private func take(_ message: OSCMessage) {
        do throws(OSCCommand.Problem) {
            let targets = targets(of: message.address)
            guard !targets.isEmpty else { throw .unknownAddress }
            for target in targets {
                try apply(try OSCCommand(target.command, message.values), to: target)
            }
            lock.withLock { tally.applied += 1 }
        } catch {
            refuse("\(message.address.printable(limit: 80)): \(error)")
        }
    }

    private func refuse(_ reason: String) {
        lock.withLock { tally.refused += 1 }
        log.debug("OSC: \(reason)")
    }

    // MARK: - Addresses

    /// What an address, or a pattern of addresses, means.
    private func targets(of address: String) -> [Target] {
        let sessions = sessions()
        let groups =
            [(prefix: "/swan/", Target(command: "", sessions: sessions, memory: ""))]
            + sessions.map { session in
                (
                    prefix: "/swan/session/\(session.id)/",
                    Target(command: "", sessions: [session], memory: session.id)
                )
            }
        // Memories of sessions that have ended.
        let present = Set(sessions.map(\.id) + [""])
        lock.withLock { memories = memories.filter { present.contains($0.key) } }
        let isPattern = address.contains { "*?[{".contains($0) }
        return groups.flatMap { prefix, group in
            OSCCommand.names
                .filter {
                    let own = prefix + $0
                    return isPattern ? OSCPattern.matches(address, own) : own == address
                }
                .map { Target(command: $0, sessions: group.sessions, memory: group.memory) }
        }
    }

    // MARK: - Commands

    private func apply(_ command: OSCCommand, to target: Target) throws(OSCCommand.Problem) {
        var change = StreamChange()
        var isPaused: Bool?
        switch command {
        case .pause(let flag): isPaused = flag
        case .change(let new): change = new
        case .transition(let chunks): return remember(target) { $0.transition = chunks }
        case .prompts(let prompts): remember(target) { $0.prompts = prompts }
        case .weights(let weights):
            remember(target) { memory in
                for (index, weight) in weights.enumerated() where index < memory.prompts.count {
                    memory.prompts[index].weight = weight
                }
            }
        case .weight(let index, let weight):
            remember(target) { memory in
                guard index < memory.prompts.count else { return }
                memory.prompts[index].weight = weight
            }
        }
        change.steps = change.steps.map { min($0, maxSteps) }
        if command.changesPrompts {
            let memory = lock.withLock { memories[target.memory] ?? Memory() }
            // Faders that are all down keep the last mix; weights without prompts mean nothing.
            guard memory.prompts.contains(where: { $0.weight > 0 }) else {
                if memory.prompts.isEmpty { throw .noPrompts }
                return
            }
            (change.prompts, change.transition) = (memory.prompts, memory.transition)
        }
        send(change, isPaused: isPaused, to: target.sessions)
    }

    private func send(_ change: StreamChange, isPaused: Bool?, to sessions: [LiveSession]) {
        var change = change
        change.event = lock.withLock {
            // Above the numbers that clients choose, which count from 1.
            event = (event &+ 1) | 0x8000_0000
            return event
        }
        for session in sessions { session.change(change, isPaused: isPaused) }
    }

    private func remember(_ target: Target, _ change: (inout Memory) -> Void) {
        lock.withLock { change(&memories[target.memory, default: Memory()]) }
    }
}

extension OSCCommand {
    fileprivate var changesPrompts: Bool {
        switch self {
        case .prompts, .weights, .weight: true
        case .change, .transition, .pause: false
        }
    }
}
