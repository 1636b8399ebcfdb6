import Foundation
package import SwanSystem

/// Starts this program as the ranks of a job on this machine, and waits for them.
///
/// The store in which they meet is served here, where it outlives every rank.
package struct RankLauncher: Sendable {
    private let plan: RankPlan
    private let arguments: [String]
    private let environment: [String: String]

    /// The number of threads that each rank gets; nil if the environment says it.
    package let threads: Int?

    /// How long the store stays after a failure, for ranks of other machines to read the reason.
    private static let stay = 2.0

    /// Prepares a start.
    ///
    /// - Parameters:
    ///   - arguments: Those of the program, after its name.
    ///   - cores: The number of processors of this machine.
    package init(
        _ plan: RankPlan,
        _ arguments: [String],
        environment: [String: String] = ProcessInfo.processInfo.environment,
        cores: Int = ProcessInfo.processInfo.activeProcessorCount
    ) {
        self.plan = plan
        self.arguments = arguments
        // A list is for nested regions; libgomp ignores what is not a number.
        let first = environment["OMP_NUM_THREADS"]?.split(separator: ",").first
        let isSet = first.flatMap { Int($0.trimmingCharacters(in: .whitespaces)) } ?? 0 > 0
        threads = isSet ? nil : max(1, cores / plan.processes)
        var own = environment
        if let threads { own["OMP_NUM_THREADS"] = "\(threads)" }
        self.environment = own
    }

    /// Starts the ranks and returns when all have ended.
    ///
    /// Call this on a thread that lives until then: the ranks are killed when it ends.
    package func run() throws(SwanError) -> RankSupervisor.Outcome {
        RankSupervisor.holdSignals()
        let service: StoreService? =
            plan.servesStore
            ? try StoreService.open(
                plan.host,
                port: plan.port ?? 0,
                isLocal: plan.nodes == 1,
                deadline: .seconds(30)
            ) : nil
        let port = service?.port ?? plan.port ?? Launch.defaultPort
        let processes = try start(port)
        let outcome = RankSupervisor(processes, firstRank: plan.firstRank).run()
        if outcome.failure != nil, plan.nodes > 1, plan.servesStore {
            Thread.sleep(forTimeInterval: Self.stay)
        }
        withExtendedLifetime(service) {}
        return outcome
    }

    private func start(_ port: UInt16) throws(SwanError) -> [RankProcess] {
        let nothing = open("/dev/null", O_RDONLY | O_CLOEXEC)
        guard nothing >= 0 else {
            throw SwanError(.unreadable, "/dev/null: \(SwanError.reason(errno))")
        }
        defer { close(nothing) }
        var processes: [RankProcess] = []
        do throws(SwanError) {
            for localRank in 0..<plan.processes {
                let variables = environment.merging(
                    plan.variables(localRank: localRank, port: port)
                ) { $1 }
                // A question to the user would stop a process that is not in the foreground.
                let reads = plan.firstRank + localRank == 0 && isatty(STDIN_FILENO) == 0
                processes.append(
                    try RankProcess(
                        "/proc/self/exe",
                        arguments,
                        environment: variables.map { "\($0)=\($1)" },
                        input: reads ? nil : nothing
                    )
                )
            }
        } catch {
            for process in processes { process.send(SIGKILL) }
            throw error
        }
        return processes
    }
}
