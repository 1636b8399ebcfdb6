import Foundation
import Logging
import SwanPipelines
import SwanSystem

/// Applies OSC messages to sessions: `/swan/NAME` to all, `/swan/session/ID/NAME` to one.
final class OSCController: @unchecked Sendable {
    /// What an address means: a command for some sessions.
    private struct Target {
        let command: String
        let sessions: [LiveSession]
        /// The session's id; nil for all sessions.
        let session: String?
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
    private var memory = OSCMemory()
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
            [(prefix: "/swan/", Target(command: "", sessions: sessions, session: nil))]
            + sessions.map { session in
                (
                    prefix: "/swan/session/\(session.id)/",
                    Target(command: "", sessions: [session], session: session.id)
                )
            }
        lock.withLock { memory.keep(only: Set(sessions.map(\.id))) }
        let isPattern = address.contains { "*?[{".contains($0) }
        return groups.flatMap { prefix, group in
            OSCCommand.names
                .filter {
                    let own = prefix + $0
                    return isPattern ? OSCPattern.matches(address, own) : own == address
                }
                .map { Target(command: $0, sessions: group.sessions, session: group.session) }
        }
    }

    // MARK: - Commands

    private func apply(_ command: OSCCommand, to target: Target) throws(OSCCommand.Problem) {
        var change = StreamChange()
        var isPaused: Bool?
        var prompts: [StreamChange.WeightedPrompt]?
        switch command {
        case .pause(let flag): isPaused = flag
        case .change(let new): change = new
        case .transition(let chunks):
            return lock.withLock { memory.set(transition: chunks, of: target.session) }
        case .prompts(let new): prompts = new
        case .weights(let weights):
            prompts = try weighted(weights.enumerated().map { ($0, $1) }, of: target)
        case .weight(let index, let weight): prompts = try weighted([(index, weight)], of: target)
        }
        change.steps = change.steps.map { min($0, maxSteps) }
        if let prompts {
            change.transition = lock.withLock {
                memory.set(prompts: prompts, of: target.session)
                return memory.entry(of: target.session).transition ?? 0
            }
            // Faders that are all down keep the last mix.
            guard prompts.contains(where: { $0.weight > 0 }) else { return }
            change.prompts = prompts
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

    /// The current prompts of a target with other weights; weights without prompts mean nothing.
    private func weighted(
        _ weights: [(index: Int, weight: Double)],
        of target: Target
    ) throws(OSCCommand.Problem) -> [StreamChange.WeightedPrompt] {
        guard var prompts = lock.withLock({ memory.entry(of: target.session).prompts }) else {
            throw .noPrompts
        }
        for (index, weight) in weights where index < prompts.count {
            prompts[index].weight = weight
        }
        return prompts
    }
}
