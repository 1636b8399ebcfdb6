import ArgumentParser
import Dispatch
import Foundation
import SwanCheckpoints
import SwanDistributed
import SwanSystem
import Synchronization
import Torch

/// A command whose work several ranks can share.
protocol RankedCommand: ParsableCommand {
    /// Whether these options are for several ranks.
    var runsOverRanks: Bool { get }
    /// How messages are written to standard error.
    var messageFormat: Terminal.Format { get }
}

extension RankedCommand {
    var runsOverRanks: Bool { true }
    var messageFormat: Terminal.Format { .text }
}

/// What the ranks of a command must have in common, and how they wait for each other.
struct RankedJob {
    /// Models, by the name of their option: a folder, a file or a bundled name.
    var models: [String: String] = [:]
    /// What else must be the same everywhere, by name. The version and the options always are.
    var agreed: [String: String] = [:]
    /// The device that this rank computes on, for messages.
    var device = "cpu"
    /// The longest that one exchange between ranks may take.
    var deadline = Duration.seconds(30)

    /// Whether a value that may be a name is the path of a file or folder here.
    static func isFile(_ value: String) -> Bool { FileManager.default.fileExists(atPath: value) }
}

/// This process as one of several.
enum Ranks {
    private static let found = Result { () throws(SwanError) in
        try Launch(environment: ProcessInfo.processInfo.environment)
    }

    /// How this process was started; nil if alone.
    static var launch: Launch? {
        get throws(SwanError) { try found.get().flatMap { $0.size > 1 ? $0 : nil } }
    }

    /// The number of this process; nil if alone.
    static let rank: Int? = {
        guard case .success(let launch?) = found, launch.size > 1 else { return nil }
        return launch.rank
    }()

    /// Whether this process writes the error that ends it, which another rank may have done.
    static func writes(_ error: any Error) -> Bool {
        guard case .success(let launch?) = found, let terminal = SharedTerminal(launch) else {
            return true
        }
        return terminal.writes(error)
    }

    /// The number of a rank other than 0, which leaves the terminal and all files to rank 0; nil on
    /// rank 0 and alone.
    static let quietRank = rank.flatMap { $0 > 0 ? $0 : nil }

    /// Throws unless a command can run as this process was started.
    static func check(_ command: any ParsableCommand) throws {
        guard let launch = try launch else { return }
        if (command as? any RankedCommand)?.runsOverRanks == true { return }
        throw SwanError(
            .invalidRequest,
            "'swan \(CommandLine.arguments.dropFirst().first ?? "")' with these options runs in one "
                + "process, but this is rank \(launch.rank) of \(launch.size): start it alone, without "
                + "swan launch, torchrun or mpirun"
        )
    }

    /// Runs a command's work: with all ranks of the job, or with nil if it was started alone.
    ///
    /// Everything that may fail on one rank belongs into `body`, so that the others hear of it. So
    /// does `StopSignals`: until then signals end the process. Rank 0 alone writes files; what the
    /// others write to the terminal, except errors, and to standard output is dropped.
    static func run(_ job: RankedJob, _ body: (World?) throws -> Void) throws {
        guard let launch = try launch else { return try body(nil) }
        let signals = try StartingSignals()
        let world: World
        do {
            defer { signals.end() }
            world = try World(
                launch,
                Roster.Entry(device: job.device, agreed: agreed(job)),
                World.Deadlines(operation: job.deadline)
            )
        }
        // A signal to another rank stops the job as one to this rank would. One that reaches all
        // ranks has been here already.
        if world.rank == 0 {
            world.onStopRequest { if StopSignals.last == nil { kill(getpid(), $0) } }
        }
        var code: ExitCode?
        do {
            try world.run {
                do {
                    try body(world)
                } catch let error as ExitCode {
                    // Work that was stopped has ended, too.
                    code = error
                }
            }
        } catch let error as SwanError where error.code == .peerFailed {
            // A signal that this rank has not yet heeded has ended that one.
            guard let number = StopSignals.received else { throw error }
            Terminal.standardError.clear()
            Terminal.standardError.write(kind: .note, "stopped")
            throw ExitCode(128 + number)
        }
        if let code { throw code }
    }

    private static func agreed(_ job: RankedJob) throws(SwanError) -> [String: String] {
        var agreed = job.agreed
        agreed["version"] = "\(SwanVersion.text) with libtorch \(Engine.version)"
        for (name, model) in job.models {
            agreed["the content of \(name)"] = digest(model)
        }
        let arguments = try CommandLineArguments.completed(
            Array(CommandLine.arguments.dropFirst())
        )
        return agreed.merging(options(arguments)) { $1 }
    }

    /// The digest of a model. One that a single rank cannot read differs from those of the others,
    /// who would otherwise wait for that rank.
    private static func digest(_ model: String) -> String {
        do throws(SwanError) {
            return try ModelDigest.text(of: model)
        } catch {
            return "unreadable (\(error.message.printable(limit: 300)))"
        }
    }

    /// What stands before any option, as messages call it.
    static let unnamed = "what follows the command"

    /// The long names of options that have a short one.
    private static let longNames = [
        "-o": "--output", "-y": "--overwrite", "-p": "--prompt", "-v": "--verbose",
        "-q": "--quiet",
    ]

    /// Options of a server that the other ranks do not use.
    private static let onlyFirst = [
        "--host", "--port", "--tls", "--token-file", "--allow-origin", "--osc", "--settings",
        "--log-format", "--log-level", "--log-file", "--verbose", "--quiet",
    ]

    /// Options and their values, in canonical form; what stands before any option is `unnamed`.
    static func options(_ arguments: some Sequence<String>) -> [String: String] {
        var values: [String: [String]] = [:]
        var name = unnamed
        for argument in arguments {
            guard argument.hasPrefix("-"), argument.count > 1, Double(argument) == nil else {
                values[name, default: []].append(argument)
                continue
            }
            let parts = argument.split(separator: "=", maxSplits: 1).map(String.init)
            name = argument.hasPrefix("--") ? parts[0] : longNames[argument] ?? argument
            values[name, default: []] += argument.hasPrefix("--") ? parts.dropFirst() : []
        }
        // Each machine has its own devices, and what only rank 0 uses.
        for name in ["--device"] + onlyFirst { values[name] = nil }
        return values.mapValues { value in
            value.isEmpty ? "given" : value.map { $0.printable(limit: 300) }.joined(separator: " ")
        }
    }
}

/// Ends the process on Ctrl-C, SIGTERM or SIGHUP while it waits for the other ranks to start.
///
/// It also blocks these signals before the first thread of the job, as `StopSignals` needs it.
private final class StartingSignals: Sendable {
    private let isOver = Mutex(false)
    private let hasEnded = DispatchSemaphore(value: 0)

    init() throws(SwanError) {
        var signals = StopSignals.handled
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        try startThread("swan.starting") { [self] in
            while !isOver.withLock({ $0 }) {
                guard let number = PendingSignal.next(of: StopSignals.handled, within: 0.02) else {
                    continue
                }
                Terminal.standardError.write(kind: .note, "stopped before all ranks had started")
                _exit(128 + number)
            }
            hasEnded.signal()
        }
    }

    /// Leaves later signals to `StopSignals`.
    func end() {
        isOver.withLock { $0 = true }
        hasEnded.wait()
    }
}

extension World {
    /// Asks rank 0 to stop the job after a signal; returns whether it will.
    func asksToStop() -> Bool {
        do throws(SwanError) {
            try requestStop(StopSignals.last ?? SIGTERM)
            return true
        } catch {
            // The store is gone, and with it the job.
            return false
        }
    }
}
