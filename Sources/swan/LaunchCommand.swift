import ArgumentParser
import Foundation
import Logging
import SwanDistributed
import SwanSystem

/// `swan launch`: starts a command as several ranks.
struct LaunchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "launch",
        abstract: "Run a command as several processes (ranks), on one machine or more.",
        discussion: """
            The ranks share the work of the command after '--'. Rank 0 alone talks to the terminal and \
            writes files. If a rank fails, all end, and the exit code is that of the rank that failed. \
            Commands may be started by torchrun, srun or mpirun instead.

            The ranks talk to each other unencrypted and unauthenticated: use a trusted network.

            EXAMPLES:
              swan launch --nproc 2 -- doctor --distributed
              swan launch --nproc 4 --nnodes 2 --node-rank 0 --master 10.0.0.1:29500 -- COMMAND ...
            """
    )

    @Option(parsing: .unconditional, help: "The number of processes on each machine.")
    var nproc: Int

    @Option(parsing: .unconditional, help: "The number of machines; start this on each of them.")
    var nnodes = 1

    @Option(
        name: .customLong("node-rank"),
        parsing: .unconditional,
        help: "The number of this machine, from 0."
    )
    var nodeRank: Int?

    @Option(
        help: ArgumentHelp(
            "An address of machine 0 that all machines reach, and a free port.",
            valueName: "host:port"
        )
    )
    var master: String?

    @Argument(
        parsing: .postTerminator,
        help: ArgumentHelp("The command and its options, after '--'.", valueName: "command")
    )
    var command: [String] = []

    func validate() throws {
        do throws(SwanError) {
            _ = try plan
        } catch {
            throw ValidationError(error.message)
        }
        guard !command.isEmpty else {
            throw ValidationError(
                "nothing to launch: add '--' and a command, such as -- doctor --distributed"
            )
        }
    }

    func run() throws {
        let plan = try plan
        try requireRanked(plan)
        let launcher = RankLauncher(plan, command)
        if let threads = launcher.threads, plan.processes > 1 {
            Terminal.standardError.write(
                kind: .note,
                "\(plan.processes) ranks on this machine, with \(threads) "
                    + "thread\(threads == 1 ? "" : "s") each (OMP_NUM_THREADS sets another number)"
            )
        }
        let outcome = try launcher.run()
        if let failure = outcome.failure, outcome.signal == nil {
            Self.report(failure, outcome.killed)
            try keepOutput(of: outcome.first)
        }
        throw ExitCode(outcome.status)
    }

    private var plan: RankPlan {
        get throws(SwanError) {
            try RankPlan(processes: nproc, nodes: nnodes, node: nodeRank, master: master)
        }
    }

    /// Reports wrong options once, not in each rank.
    private func requireRanked(_ plan: RankPlan) throws {
        if (try Ranks.launch) != nil { try Ranks.check(self) }
        var parsed = try Swan.parseAsRoot(CommandLineArguments.completed(command))
        // The parser's own command for --help, which is not public.
        if "\(type(of: parsed))" == "HelpCommand" { try parsed.run() }
        let ranked = parsed as? any RankedCommand
        if let ranked { Terminal.standardError.use(ranked.messageFormat) }
        if (parsed as? any LoggedCommand)?.logging.quiet == true {
            Terminal.standardError.show(.error)
        }
        guard plan.size == 1 || ranked?.runsOverRanks == true else {
            throw SwanError(
                .invalidRequest,
                "'swan \(command[0])' with these options runs in one process: start it without swan launch"
            )
        }
    }

    /// Keeps what rank 0 of a stream had written when it was killed, if players can read it.
    private func keepOutput(of first: RankSupervisor.Ending?) throws {
        guard let first, case .signaled = first.end,
            let stream = try Swan.parseAsRoot(CommandLineArguments.completed(command))
                as? StreamCommand,
            let output = stream.output,
            // The index of other containers is written at the end.
            [".mkv", ".y4m"].contains(where: { output.lowercased().hasSuffix($0) }),
            let kept = PartialFile.keepUnfinished(output, of: first.process)
        else { return }
        let text = "\(kept.printable(limit: 1_000)) has what was decoded until then"
        Terminal.standardError.write(kind: .note, text)
    }

    /// Says what ranks cannot say themselves.
    private static func report(_ failure: RankSupervisor.Ending, _ killed: [Int]) {
        if case .signaled(let number) = failure.end {
            Terminal.standardError.write(
                kind: .error,
                "rank \(failure.rank) (process \(failure.process)) was ended by signal \(number) "
                    + "(\(String(cString: strsignal(number))))"
            )
        }
        guard !killed.isEmpty else { return }
        let ranks = killed.map(String.init).joined(separator: ", ")
        Terminal.standardError.write(kind: .note, "rank \(ranks) did not end and was killed")
    }
}
