import ArgumentParser
import Foundation
import Logging
import SwanCheckpoints
import SwanEvaluation
import SwanPipelines
import SwanSystem
import Torch

/// `swan bench speed`: how fast this machine is at what Swan does.
struct BenchSpeedCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "speed",
        abstract: "Measure operators, networks and whole streams.",
        discussion: """
            ops     what an operator call costs beside C++, and the rate of matrix products
            dit     a chunk through 4 blocks of the 1.3B transformer, random weights
            vae     4 frames of 416x240 through Wan 2.1's autoencoder, random weights
            generate  a guided step through 4 blocks of the 1.3B transformer; decoders of 2.1, 2.2
            stream  the bundled model from a file to a file, with 2 steps

            Figures are medians after a warm-up; the shortest and the 95th percentile stand beside them.
            """
    )

    @Argument(help: "ops, dit, vae, generate, stream; all of them if none is named.")
    var cases: [Benchmark] = []

    @Option(parsing: .unconditional, help: "Rounds that are timed.")
    var rounds = 5

    @Option(help: "auto (a GPU if there is one), cpu, cuda or cuda:N.")
    var device = DeviceName(name: "cpu")

    @Option(help: "What networks compute in.")
    var dtype = WeightType.auto

    @Option(help: "The model that 'stream' runs.")
    var model = BundledModels.names[0]

    @Option(help: "The video that 'stream' runs on, instead of a made one.")
    var input: String?

    @Flag(help: "As JSON.")
    var json = false

    func validate() throws {
        guard (1...10_000).contains(rounds) else {
            throw ValidationError("\(rounds) rounds are not in 1 ... 10000")
        }
    }

    func run() throws {
        LoggingSystem.bootstrap { _ in TerminalLog() }
        var options = BenchmarkOptions()
        options.rounds = rounds
        options.device = try Device(named: device.name)
        options.dtype = dtype.dtype
        options.model = model
        options.input = input
        var report = BenchmarkReport(options.device)
        if !json {
            try StandardOutput.write(
                "\(report.machine.processor), \(report.threads) threads, \(report.engine), "
                    + "on \(report.device)"
            )
        }
        for benchmark in cases.isEmpty ? Benchmark.allCases : cases {
            let measurements = try benchmark.run(options)
            report.measurements += measurements
            guard !json else { continue }
            for measurement in measurements { try StandardOutput.write(measurement.line) }
        }
        if json { try StandardOutput.write(JSONText.data(report)) }
    }
}

extension Benchmark: ExpressibleByArgument {}
