import ArgumentParser
import Foundation
import Logging
import SwanCheckpoints
import SwanPipelines
import SwanSystem
import SwanTraining

/// `swan bench tiny-quality`: how good a model's streams are, by numbers with bounds.
struct BenchQualityCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tiny-quality",
        abstract: "Measure how good a streaming model is; takes some minutes.",
        discussion: """
            vae      the autoencoder through its streaming halves, beside linear codes of as many numbers
            styles   each style by three prompts: chunks that are nearest to the exact style, structure
                     (SSIM), flicker and PSNR against it
            changes  a stream through all styles: chunks until another prompt has taken hold
            drift    a long stream forward and backward through the clip: does it end as it began

            The footage is what the bundled model was not trained on: bikes.mp4 and carphone_pristine.mp4, \
            and a shot of bigbuckbunny.mp4, of which the training has other shots. The \
            styles are those of recipe.yaml in the model's folder. A sheet alone:

              swan bench tiny-quality --measures styles --bare --max-frames 41 \\
                --sheet styles.png
            """
    )

    @Option(help: "A bundled model's name or a model's folder.")
    var model = BundledModels.names[0]

    @Option(help: "A video to measure on, in place of the usual ones; can be given again.")
    var input: [String] = []

    @Option(help: ArgumentHelp("The styles to run, separated by commas.", valueName: "names"))
    var styles: String?

    @Flag(help: "Ask for a style by its first phrasing alone, not by sentences too.")
    var bare = false

    @Option(
        help: ArgumentHelp(
            "Some of vae, styles, changes and drift, separated by commas.",
            valueName: "names"
        )
    )
    var measures = MeasureList(measures: QualityMeasure.allCases)

    @Option(parsing: .unconditional, help: "Frames taken of each video.")
    var maxFrames = QualityOptions().maxFrames

    @Option(parsing: .unconditional, help: "Frames of the long streams.")
    var driftFrames = QualityOptions().driftFrames

    @Option(parsing: .unconditional, help: "Seed of all random numbers.")
    var seed: UInt64 = 0

    @Option(help: "auto (a GPU if there is one), cpu, cuda or cuda:N.")
    var device = DeviceName(name: "auto")

    @Option(help: "What networks compute in.")
    var dtype = WeightType.auto

    @Option(help: "Write a sheet of the input and all styles as a PNG file.")
    var sheet: String?

    @OptionGroup var overwriting: OverwriteOption

    @Option(parsing: .unconditional, help: "The frame that the sheet shows.")
    var sheetFrame = QualityOptions().sheetFrame

    @Flag(help: "End with code 65 if a figure does not fulfil its bound.")
    var check = false

    @Flag(help: "As JSON.")
    var json = false

    func validate() throws {
        do throws(SwanError) {
            try options.check()
        } catch {
            throw ValidationError(error.message)
        }
    }

    func run() throws {
        LoggingSystem.bootstrap { _ in TerminalLog() }
        var options = options
        options.overwrites = try overwriting.permit(options.files)
        let benchmark = try QualityBenchmark(options)
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
        options.inputs = input
        options.styles = styles.map { $0.split(separator: ",").map(String.init) }
        options.isBare = bare
        options.measures = measures.measures
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

/// Measures, separated by commas.
struct MeasureList: ExpressibleByArgument, CustomStringConvertible {
    let measures: [QualityMeasure]

    var description: String { measures.map(\.rawValue).joined(separator: ",") }

    init(measures: [QualityMeasure]) {
        self.measures = measures
    }

    init?(argument: String) {
        let names = argument.split(separator: ",").map(String.init)
        measures = names.compactMap(QualityMeasure.init(rawValue:))
        guard measures.count == names.count, Set(names).count == names.count else { return nil }
    }
}
