import ArgumentParser
import Foundation
import SwanEvaluation
import SwanSystem
import Torch

/// `swan bench distill`: measures what a distillation of a model of drawn scenes has achieved.
struct BenchDistillCommand: ParsableCommand, LoggedCommand {
    static let configuration = CommandConfiguration(
        commandName: "distill",
        abstract: "Compare a distilled model of drawn scenes with its teacher; takes minutes.",
        discussion: """
            Teacher and student make videos of the same held-out prompts, from the same seeds: how many \
            prompts are met, how sharp and how contrasty the videos are in 1, 2 and 4 steps, how long they \
            take, whether long streams hold, and whether noised footage takes on another prompt. \
            docs/distillation.md explains the figures.

              swan bench distill --model out/tiny-t2v-student --teacher out/tiny-t2v \\
                --ode out/tiny-t2v-ode --sheet videos.png
            """
    )

    @Option(help: "The student: the name of a bundled model, or a folder.")
    var model = "tiny-t2v"

    @Option(help: "The teacher: the name of a bundled model, or a folder.")
    var teacher = "tiny-t2v-teacher"

    @Option(help: ArgumentHelp("The student after regression alone.", valueName: "model"))
    var ode: String?

    @Option(parsing: .unconditional, help: "The number of prompts.")
    var prompts = 100

    @Option(parsing: .unconditional, help: "The seed of the prompts and of the noise.")
    var seed: UInt64 = 0

    @Option(parsing: .unconditional, help: "The number of long streams, 0 for none.")
    var streams = 4

    @Option(parsing: .unconditional, help: "The number of frames of a long stream.")
    var streamFrames = 2_000

    @Option(help: "The device to run on: auto (a GPU if available), cpu, cuda or cuda:N.")
    var device = DeviceName(name: "auto")

    @Option(help: "Write frames of the first videos to this PNG file.")
    var sheet: String?

    @OptionGroup var overwriting: OverwriteOption

    @Flag(help: "Exit with code 65 if a figure is outside its bounds.")
    var check = false

    @Flag(help: "Print the result as JSON.")
    var json = false

    @OptionGroup var logging: LogOptions

    func run() throws {
        _ = try StopSignals(.init(abandoned: "stopped"), stop: { false }, abandon: {})
        var options = DistillBenchmark.Options(model: model, teacher: teacher)
        options.regression = ode
        options.prompts = prompts
        options.seed = seed
        options.streams = streams
        options.streamFrames = streamFrames
        options.device = device.name
        options.sheet = sheet
        options.overwrites = try overwriting.permit(options.files)
        let benchmark = try DistillBenchmark(options) { done in
            Terminal.standardError.write(kind: .note, done)
        }
        Engine.sleepWhileWaiting()
        let report = try benchmark.run()
        let text = report.figures.map { $0.text + "\n" }.joined()
        try StandardOutput.write(json ? JSONText.data(report) : Data(text.utf8))
        if check, !report.holds { throw ExitCode(EX_DATAERR) }
    }
}
