import ArgumentParser
import Foundation
import SwanEvaluation
import SwanSystem
import Torch

/// `swan bench tiny-t2v`: measures how many held-out prompts a model of drawn scenes meets.
struct BenchScenesCommand: ParsableCommand, LoggedCommand {
    static let configuration = CommandConfiguration(
        commandName: "tiny-t2v",
        abstract: "Measure how many prompts a model of drawn scenes meets; takes minutes.",
        discussion: """
            Videos are generated for prompts whose combinations of color, shape and direction are \
            not in the training of 'configs/tiny-t2v.yaml'. Classifiers that follow from how scenes \
            are drawn judge them: backdrop, hue, form, heading and pace.

              swan bench tiny-t2v --model out/tiny-t2v --prompts 40 --sheet videos.png

            With --pictures, or for a student for pictures, one frame is made of each prompt and judged by \
            backdrop, hue and form.
            """
    )

    @Option(help: "The model folder.")
    var model: String

    @Option(parsing: .unconditional, help: "The number of prompts.")
    var prompts = 100

    @Option(parsing: .unconditional, help: "The seed of the prompts and of the noise.")
    var seed: UInt64 = 0

    @Option(parsing: .unconditional, help: "The number of denoising steps, instead of the model's.")
    var steps: Int?

    @Option(parsing: .unconditional, help: "The guidance scale, instead of the model's.")
    var guidance: Double?

    @Flag(help: "Make and judge single pictures.")
    var pictures = false

    @Option(help: "The device to run on: auto (a GPU if available), cpu, cuda or cuda:N.")
    var device = DeviceName(name: "auto")

    @Option(help: "Write frames of the first videos to this PNG file.")
    var sheet: String?

    @OptionGroup var overwriting: OverwriteOption

    @Flag(help: "Exit with code 65 if fewer than 90% of the prompts are met.")
    var check = false

    @Flag(help: "Print the result as JSON.")
    var json = false

    @OptionGroup var logging: LogOptions

    func run() throws {
        _ = try StopSignals(.init(abandoned: "stopped"), stop: { false }, abandon: {})
        var options = SceneBenchmark.Options(model: model)
        options.prompts = prompts
        options.seed = seed
        options.steps = steps
        options.guidance = guidance
        options.makesPictures = pictures
        options.device = device.name
        options.sheet = sheet
        options.overwrites = try overwriting.permit(options.files)
        let benchmark = try SceneBenchmark(options)
        Engine.sleepWhileWaiting()
        let report = try benchmark.run { done, score in
            guard done.isMultiple(of: 10) || done == prompts else { return }
            Terminal.standardError.write(
                kind: .note,
                "\(done) of \(prompts): \(score)"
            )
        }
        let lines = report.figures.map(\.text) + report.missed.map { "not met: \($0)" }
        let text = lines.joined(separator: "\n") + "\n"
        try StandardOutput.write(json ? JSONText.data(report) : Data(text.utf8))
        if check, !report.holds { throw ExitCode(EX_DATAERR) }
    }
}
