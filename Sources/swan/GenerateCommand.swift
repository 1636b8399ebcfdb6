import ArgumentParser
import Foundation
import Logging
import SwanDistributed
import SwanMedia
import SwanPipelines
import Torch

/// `swan generate`: generates a video from text, or from text and images.
struct GenerateCommand: RankedCommand, LoggedCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Generate a video from text and images with a Wan checkpoint.",
        discussion: """
            The checkpoint is a folder as downloaded (original or diffusers layout), a ComfyUI folder, \
            or a transformer file with the other parts nearby. Its kind is detected from the weights; \
            'swan models inspect DIR' shows it. Options that are not given default to the model \
            authors' settings.

            EXAMPLES:
              swan generate --model Wan2.1-T2V-1.3B --prompt "a fox in snow" -o fox.mp4
              swan generate --model Wan2.2-TI2V-5B --prompt "smile" --image a.jpg -o a.mp4
              swan generate --model Wan2.1-FLF2V-14B-720P --prompt "a day goes by" \\
                --image dawn.png --last-image dusk.png -o day.mp4
              swan generate --model Wan2.2-T2V-A14B --prompts list.txt --n 2 -o clip.mp4
              swan launch --nproc 4 -- generate --model Wan2.1-T2V-1.3B \\
                --prompt "a fox" -o fox.mp4
            """
    )

    @OptionGroup var content: ContentOptions
    @OptionGroup var shape: ShapeOptions
    @OptionGroup var sampling: SamplingOptions
    @OptionGroup var loading: ModelLoadingOptions
    @OptionGroup var dividing: DivisionOptions

    @Option(
        name: .shortAndLong,
        parsing: .unconditional,
        help: ArgumentHelp(
            "The output: .mp4, .mov (H.264), .mkv (lossless), .y4m, %05d.png, or .png for one frame; "
                + "- writes YUV4MPEG2 to standard output.",
            valueName: "file"
        ),
        completion: .file()
    )
    var output: String

    @OptionGroup var overwriting: OverwriteOption
    @OptionGroup var dryRun: DryRunOption

    @Option(
        name: .customLong("save-latents"),
        help: ArgumentHelp("Write the final latents to this safetensors file.", valueName: "file")
    )
    var saveLatents: String?

    @Option(
        name: .customLong("preview"),
        parsing: .unconditional,
        help: ArgumentHelp(
            "Show a preview every N steps, on the terminal or in --preview-file.",
            valueName: "n"
        )
    )
    var previewInterval: Int?

    @Option(
        name: .customLong("preview-file"),
        help: ArgumentHelp("Write previews to this file, replacing the last one.", valueName: "png")
    )
    var previewFile: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Write a JSON summary to this file, or to standard output for -.",
            valueName: "file"
        )
    )
    var json: String?

    @Option(help: "How to show progress; auto is a bar on a terminal and plain lines otherwise.")
    var progress = ProgressStyle.auto

    var messageFormat: Terminal.Format { progress == .json ? .json : .text }

    @Option(
        name: [.customLong("settings"), .customLong("config")],
        help: SettingsOption.help,
        completion: .file(extensions: ["yaml", "yml"])
    )
    var settings: String?

    @OptionGroup var logging: LogOptions

    func validate() throws {
        guard output != "-" || json != "-" else {
            throw ValidationError("the video and the summary cannot both go to standard output")
        }
    }

    func run() throws {
        if dryRun.isGiven { return try outline() }
        var job = RankedJob()
        job.models = ["--model": loading.model]
        job.models.merge(loading.files) { old, _ in old }
        job.models["--init-latents"] = sampling.initialLatents
        for lora in loading.loras { job.models["--lora \(lora.file.path)"] = lora.file.path }
        job.device = try Ranks.launch?.ownDevice(named: loading.device.name) ?? loading.device.name
        // Rank 0 alone reads and runs the text encoder, for which the others wait.
        job.deadline = .seconds(1_800)
        let device = job.device
        try Ranks.run(job) { try run($0, device) }
    }

    /// Prints what would be done.
    private func outline() throws {
        let prompts = try content.prompts()
        try dryRun.permit(files(prompts), overwrites: overwriting.isGiven)
        try dryRun.show(request(prompts).outline(), json: json, progress)
    }

    private func run(_ world: World?, _ device: String) throws {
        if world == nil { try dividing.requireAlone() }
        let ranks = world.map { GenerationRanks($0, dividing.division) }
        let log = Logger(label: "swan")
        let prompts = try content.prompts()
        let overwrites = try overwriting.permit(files(prompts))
        let report = try JSONReport(json, replaces: overwrites)
        var request = try request(prompts)
        request.overwrites = overwrites
        request.options.device = device
        let job = FileGeneration(request, log: log, ranks: ranks)
        let signals = try Self.signals(for: job, ranks)
        var display = GenerationDisplay(progress, previewFile: effectivePreviewFile)
        Engine.sleepWhileWaiting()
        try ReportedJob(signals: signals, report: report, log: log).run {
            let summary = try job.run { if ranks?.isFirst != false { try display.show($0) } }
            display.end(summary)
            return try summary.json()
        }
        // The signal may have come to another rank.
        if let code = ranks?.stopCode { throw ExitCode(code) }
    }

    private static func signals(
        for job: FileGeneration,
        _ ranks: GenerationRanks?
    ) throws -> StopSignals {
        // An unfinished video is discarded, so there is nothing to wait for.
        guard let ranks else {
            return try StopSignals(stop: { false }, abandon: { job.abandon() })
        }
        let messages = StopSignals.Messages(
            stopping: "stopping all ranks after this step (repeat to exit immediately)"
        )
        let signals = try StopSignals(
            messages,
            stop: {
                job.requestStop()
                return true
            },
            abandon: { job.abandon() }
        )
        ranks.reads(signal: { signals.exitCode })
        return signals
    }

    /// The files that the command reads and writes.
    private func files(_ prompts: [String]) throws -> JobFiles {
        var files = try baseRequest(prompts).files
        files.inputs += content.files + [sampling.initialLatents].compactMap { $0 }
        files.outputs += [json, effectivePreviewFile].compactMap { $0 }.map { .file($0) }
        return files
    }

    private var effectivePreviewFile: String? {
        previewInterval == nil ? nil : previewFile ?? defaultPreviewFile
    }

    /// The preview file if previews are not shown on a terminal.
    private var defaultPreviewFile: String? {
        let isShown = Terminal.standardError.isInteractive && [.auto, .bar].contains(progress)
        guard !isShown, output != "-" else { return nil }
        return URL(fileURLWithPath: output).deletingPathExtension().path + ".preview.png"
    }

    /// The request that the options describe.
    func request() throws -> FileGenerationRequest { try request(content.prompts()) }

    /// The request without images and other files that have to be read.
    private func baseRequest(_ prompts: [String]) throws -> FileGenerationRequest {
        var request = FileGenerationRequest(
            model: loading.model,
            prompt: prompts[0],
            output: output
        )
        request.morePrompts = Array(prompts.dropFirst())
        request.variants = content.variants
        request.options = try loading.options()
        request.frameRate = shape.fps
        request.saveLatents = saveLatents
        return request
    }

    private func request(_ prompts: [String]) throws -> FileGenerationRequest {
        var request = try baseRequest(prompts)
        try content.apply(
            to: &request.generation,
            frames: shape.frames ?? GenerationRequest.Control.mostFrames
        )
        shape.apply(to: &request.generation.settings)
        sampling.apply(to: &request.generation.settings)
        request.generation.initialLatents = try sampling.readInitialLatents()
        request.generation.settings.previewInterval = previewInterval
        return request
    }
}
