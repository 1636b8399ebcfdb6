import ArgumentParser
import Foundation
import SwanCheckpoints
import SwanEvaluation
import SwanPipelines
import SwanSystem
import SwanTraining
import Torch

/// `swan bench tiny-quality`: measures the quality of a model's streams against fixed bounds.
struct BenchQualityCommand: ParsableCommand, LoggedCommand {
    static let configuration = CommandConfiguration(
        commandName: "tiny-quality",
        abstract: "Measure the quality of a streaming model; takes several minutes.",
        discussion: """
            vae      reconstruction by the autoencoder, compared with a linear code
            styles   each style from three prompts: closest style, SSIM, flicker, PSNR
            changes  a stream through all styles: chunks until a new prompt takes effect
            drift    a long stream: whether its quality stays the same

            The default footage is held out from the bundled model's training: bikes.mp4, \
            carphone_pristine.mp4, and one shot of bigbuckbunny.mp4, of which other shots were used for \
            training. The styles are those of recipe.yaml in the model folder. To write only a sample sheet:

              swan bench tiny-quality --measures styles --bare --max-frames 41 \\
                --sheet styles.png
            """
    )

    @Option(help: "The name of a bundled model, or a model folder.")
    var model = BundledModels.names[0]

    @Option(
        name: .customLong("lora"),
        parsing: .unconditionalSingleValue,
        help: ArgumentHelp(
            "A LoRA that gives the model a look, and its strength; measures that look. Repeatable.",
            valueName: "file[=strength]"
        )
    )
    var loras: [LoRAArgument] = []

    @Option(help: "A video to measure on instead of the default ones; repeatable.")
    var input: [String] = []

    @Option(help: ArgumentHelp("The styles to measure, separated by commas.", valueName: "names"))
    var styles: String?

    @Flag(help: "Use only the first phrasing of each style as a prompt, without sentences.")
    var bare = false

    @Option(
        help: ArgumentHelp(
            "The measures to run, separated by commas: vae, styles, changes, drift.",
            valueName: "names"
        )
    )
    var measures = NameList(QualityMeasure.allCases)

    @Option(parsing: .unconditional, help: "The number of frames to use of each video.")
    var maxFrames = QualityOptions().maxFrames

    @Option(parsing: .unconditional, help: "The number of frames of the long streams.")
    var driftFrames = QualityOptions().driftFrames

    @Option(parsing: .unconditional, help: "The seed of all random numbers.")
    var seed: UInt64 = 0

    @Option(help: "The device to run on: auto (a GPU if available), cpu, cuda or cuda:N.")
    var device = DeviceName(name: "auto")

    @Option(help: "The dtype that networks compute in.")
    var dtype = WeightType.auto

    @Option(help: "Write a sample sheet of the input and all styles to this PNG file.")
    var sheet: String?

    @OptionGroup var overwriting: OverwriteOption

    @Option(parsing: .unconditional, help: "The frame to show in the sample sheet.")
    var sheetFrame = QualityOptions().sheetFrame

    @Flag(help: "Exit with code 65 if a figure misses its bound.")
    var check = false

    @Flag(help: "Print the result as JSON.")
    var json = false

    @OptionGroup var logging: LogOptions

    func validate() throws {
        do throws(SwanError) {
            try options.check()
        } catch {
            throw ValidationError(error.message)
        }
    }

    func run() throws {
        _ = try StopSignals(.init(abandoned: "stopped"), stop: { false }, abandon: {})
        var options = options
        options.overwrites = try overwriting.permit(options.files)
        let benchmark = try QualityBenchmark(options)
        Engine.sleepWhileWaiting()
        if !json { try StandardOutput.write(benchmark.report.heading) }
        var failure: (any Error)?
        let report = try benchmark.run(
            onProgress: { progress in
                Terminal.standardError.write(
                    kind: .note,
                    "\(progress.done + 1) of \(progress.total): \(progress.what)"
                )
            },
            onRow: { row in
                guard !json, failure == nil else { return }
                do {
                    try StandardOutput.write(row.line)
                } catch {
                    failure = error
                }
            }
        )
        if let failure { throw failure }
        try StandardOutput.write(json ? JSONText.data(report) : Data((report.verdict + "\n").utf8))
        if check, !report.holds { throw ExitCode(EX_DATAERR) }
    }

    private var options: QualityOptions {
        var options = QualityOptions()
        options.model = model
        options.loras = loras.map(\.file)
        options.inputs = input
        options.styles = styles.map { $0.split(separator: ",").map(String.init) }
        options.isBare = bare
        options.measures = measures.names
        options.maxFrames = maxFrames
        options.driftFrames = driftFrames
        options.seed = seed
        options.device = device.name
        options.dtype = dtype.dtype
        options.sheet = sheet
        options.sheetFrame = sheetFrame
        return options
    }
}
