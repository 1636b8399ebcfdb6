import ArgumentParser
import Foundation
import SwanCheckpoints
import SwanEvaluation
import SwanPipelines
import SwanSystem
import Torch

/// `swan bench speed`: measures how fast Swan runs on this machine.
struct BenchSpeedCommand: ParsableCommand, LoggedCommand {
    static let configuration = CommandConfiguration(
        commandName: "speed",
        abstract: "Measure operators, networks and whole streams.",
        discussion: """
            ops       overhead of an operator call over C++; matrix multiplication rate
            dit       a chunk through 4 blocks of the 1.3B transformer
            vae       4 frames at 416x240 through Wan 2.1's autoencoder
            generate  a guided step through 4 blocks of the 1.3B transformer; VAE decoders
            stream    the bundled model from file to file, with 2 denoising steps

            Apart from 'stream', models have random weights.

            Figures are medians after a warm-up, followed by the minimum and the 95th percentile.
            """
    )

    @Argument(
        help: "The cases to run: ops, dit, vae, generate, stream. The default is all of them."
    )
    var cases: [Benchmark] = []

    @Option(parsing: .unconditional, help: "The number of timed rounds.")
    var rounds = 5

    @Option(help: "The device to run on: auto (a GPU if available), cpu, cuda or cuda:N.")
    var device = DeviceName(name: "cpu")

    @Option(help: "The dtype that networks compute in.")
    var dtype = WeightType.auto

    @Option(help: "The model for the 'stream' case.")
    var model = BundledModels.names[0]

    @Option(help: "The input video for the 'stream' case instead of a synthetic one.")
    var input: String?

    @Flag(help: "Print the result as JSON.")
    var json = false

    @OptionGroup var logging: LogOptions

    func validate() throws {
        guard (1...10_000).contains(rounds) else {
            throw ValidationError("--rounds must be between 1 and 10000, not \(rounds)")
        }
    }

    func run() throws {
        _ = try StopSignals(.init(abandoned: "stopped"), stop: { false }, abandon: {})
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
            if benchmark == .stream { Engine.sleepWhileWaiting() }
            let measurements = try benchmark.run(options)
            report.measurements += measurements
            guard !json else { continue }
            for measurement in measurements { try StandardOutput.write(measurement.line) }
        }
        if json { try StandardOutput.write(JSONText.data(report)) }
    }
}

extension Benchmark: ExpressibleByArgument {}
