import ArgumentParser
import Foundation
import SwanCheckpoints
import SwanServeBench
import SwanSystem
import Torch

/// `swan bench serve`: measures what the users of a server get on this machine.
struct BenchServeCommand: ParsableCommand, LoggedCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Measure what users of 'swan serve' get; takes several minutes.",
        discussion: """
            glass        camera to canvas in Chromium, without a model: what transport and page cost
            glass-model  camera to canvas in Chromium, with the model
            sessions     four sessions: whether each keeps its rate
            batching     the rate of four sessions over that of one
            churn        connections that come and go: memory, descriptors, threads, free places
            hostile      a session beside hostile clients
            prompt       chunks from a new prompt to the first frame that shows it
            start        the time from the start of the program to its first answer

            Servers and browsers are started as child processes and used over the loopback interface. Latencies \
            are those of this machine under the load of all of them, so nothing else should run.
            """
    )

    @Option(
        help: ArgumentHelp(
            "The rows to measure, separated by commas. The default is all of them.",
            valueName: "names"
        )
    )
    var rows = NameList(ServeRow.allCases)

    @Option(help: "The name of a bundled model, or a model folder.")
    var model = BundledModels.names[0]

    @Option(
        parsing: .unconditional,
        help:
            "The length of 'glass-model' and 'sessions' in seconds; a round of the others is a sixth of it."
    )
    var seconds = 60.0

    @Option(
        parsing: .unconditional,
        help: "The number of rounds of glass, batching and hostile, of which the medians count."
    )
    var rounds = 3

    @Option(parsing: .unconditional, help: "The number of connections of 'churn'.")
    var cycles = 1_000

    @Option(
        help: ArgumentHelp(
            "The Chromium to use instead of the first one in PATH.",
            valueName: "program"
        )
    )
    var browser: String?

    @Flag(help: "Exit with code 65 if a figure misses its bound, or a row cannot be measured.")
    var check = false

    @Flag(help: "Print the result as JSON.")
    var json = false

    @OptionGroup var logging: LogOptions

    func validate() throws {
        guard seconds.isFinite, (1...86_400).contains(seconds) else {
            throw ValidationError("--seconds must be between 1 and 86400, not \(seconds)")
        }
        guard (1...100).contains(rounds) else {
            throw ValidationError("--rounds must be between 1 and 100, not \(rounds)")
        }
        guard (2...1_000_000).contains(cycles) else {
            throw ValidationError("--cycles must be between 2 and 1000000, not \(cycles)")
        }
    }

    func run() throws {
        _ = try StopSignals(
            .init(abandoned: "stopped"),
            stop: { false },
            abandon: { ServeBenchmark.abandon() }
        )
        let benchmark = ServeBenchmark(try options, version: SwanVersion.text)
        if !json { try StandardOutput.write(benchmark.report.heading) }
        let report = try benchmark.run(
            onProgress: { row in
                Terminal.standardError.write(kind: .note, "measuring \(row.rawValue)")
            },
            onRow: { row in if !json { try StandardOutput.write(row.line) } }
        )
        try StandardOutput.write(json ? JSONText.data(report) : Data((report.verdict + "\n").utf8))
        if check, !report.holds { throw ExitCode(EX_DATAERR) }
    }

    private var options: ServeBenchOptions {
        get throws {
            let program = try FileManager.default.destinationOfSymbolicLink(
                atPath: "/proc/self/exe"
            )
            var options = ServeBenchOptions(program: program)
            options.rows = rows.names
            options.model = model
            options.seconds = seconds
            options.rounds = rounds
            options.cycles = cycles
            options.browser = browser
            return options
        }
    }
}
