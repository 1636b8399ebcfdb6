import Foundation
import SwanSystem
import Testing

@testable import SwanDistributed

/// Shells in place of ranks.
@Suite(.serialized) struct RankSupervisorTests {
    private func supervise(_ scripts: [String]) async throws -> RankSupervisor.Outcome {
        // The ranks end with the thread that starts them.
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                continuation.resume(with: Result { try Self.run(scripts) })
            }
        }
    }

    private static func run(_ scripts: [String]) throws -> RankSupervisor.Outcome {
        RankSupervisor.holdSignals()
        let processes = try scripts.map {
            try RankProcess("/bin/sh", ["-c", $0], environment: ["PATH=/usr/bin:/bin"], input: nil)
        }
        var patience = RankSupervisor.Patience()
        (patience.hearing, patience.ending) = (.seconds(1), .seconds(1))
        return RankSupervisor(processes, firstRank: 4, patience: patience).run()
    }

    @Test func success() async throws {
        let outcome = try await supervise(["exit 0", "sleep 0.2"])
        #expect(outcome == RankSupervisor.Outcome())
        #expect(outcome.status == 0)
    }

    /// Those that heard of a failure end before the rank that told them.
    @Test func firstReasonCounts() async throws {
        let outcome = try await supervise(["exit 75", "sleep 0.3; exit 65", "sleep 0.5; exit 66"])
        #expect(outcome.failure?.rank == 5)
        #expect(outcome.status == 65)
        #expect(outcome.killed == [])
    }

    @Test func signalledRank() async throws {
        let outcome = try await supervise(["kill -9 $$", "sleep 0.3; exit 75"])
        #expect(outcome.failure?.rank == 4)
        #expect(outcome.failure?.end == .signaled(SIGKILL))
        #expect(outcome.status == 137)
    }

    /// One rank ends when it is told, another only when it is killed.
    @Test func ranksThatDoNotHear() async throws {
        let began = ContinuousClock.now
        let outcome = try await supervise([
            "exit 3", "exec sleep 50", "trap '' TERM; sleep 50 & wait; wait",
        ])
        #expect(outcome.failure?.rank == 4)
        #expect(outcome.status == 3)
        #expect(outcome.killed == [6])
        #expect(ContinuousClock.now - began < .seconds(30))
    }

    @Test func missingProgram() {
        let error = #expect(throws: SwanError.self) {
            try RankProcess("/no/such/program", [], environment: [], input: nil)
        }
        #expect(error?.message.contains("No such file") == true)
    }
}
