import ArgumentParser
import Foundation
import Logging
import SwanMedia
import SwanPipelines

/// `swan generate`: a video from text, or from text and pictures.
struct GenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Make a video from text and pictures with a Wan checkpoint.",
        discussion: """
            The checkpoint is a folder as it was downloaded (original or diffusers layout), a ComfyUI \
            folder, or a transformer's file with the other parts near it. What it is for is found by \
            looking; 'swan models inspect DIR' says it. What is not asked for is as the model's \
            authors run it.

            EXAMPLES:
              swan generate --model Wan2.1-T2V-1.3B --prompt "a fox in snow" -o fox.mp4
              swan generate --model Wan2.2-TI2V-5B --prompt "smile" --image a.jpg -o a.mp4
              swan generate --model Wan2.1-FLF2V-14B-720P --prompt "a day goes by" \\
                --image dawn.png --last-image dusk.png -o day.mp4
              swan generate --model Wan2.2-T2V-A14B --prompts list.txt --n 2 -o clip.mp4
            """
    )

    @OptionGroup var content: ContentOptions
    @OptionGroup var shape: ShapeOptions
    @OptionGroup var sampling: SamplingOptions
    @OptionGroup var loading: CheckpointOptions

    @Option(
        name: .shortAndLong,
        parsing: .unconditional,
        help: ArgumentHelp(
            "The output: .mp4, .mov (H.264), .mkv (lossless), .y4m, %05d.png, .png for one frame; "
                + "- writes YUV4MPEG2 to standard output.",
            valueName: "file"
        )
    )
    var output: String

    @OptionGroup var overwriting: OverwriteOption

    @Option(
        name: .customLong("save-latents"),
        help: ArgumentHelp("Write the final latents, a safetensors file.", valueName: "file")
    )
    var saveLatents: String?

    @Option(
        name: .customLong("preview"),
        parsing: .unconditional,
        help: ArgumentHelp(
            "A picture of the video so far every so many steps: on a terminal, or in --preview-file.",
            valueName: "steps"
        )
    )
    var previewInterval: Int?

    @Option(
        name: .customLong("preview-file"),
        help: ArgumentHelp("Where previews are written, over each other.", valueName: "png")
    )
    var previewFile: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Write a summary as JSON; - to standard output.", valueName: "file")
    )
    var json: String?

    @Option(help: "How progress is shown; auto is a bar on a terminal, plain lines elsewhere.")
    var progress = ProgressStyle.auto

    func validate() throws {
        guard output != "-" || json != "-" else {
            throw ValidationError("the video and the summary cannot both go to standard output")
        }
    }

    func run() throws {
        LoggingSystem.bootstrap { _ in TerminalLog() }
        let log = Logger(label: "swan")
        let prompts = try content.prompts()
        let overwrites = try overwriting.permit(files(prompts))
        let report = try JSONReport(json, replaces: overwrites)
        var request = try request(prompts)
        request.overwrites = overwrites
        let job = FileGeneration(request, log: log)
        // A video that is not finished is none: there is nothing to wait for.
        let signals = try StopSignals(stop: { false }, abandon: { job.abandon() })
        var display = GenerationDisplay(progress, previewFile: shownPreviewFile)
        try ReportedJob(signals: signals, report: report, log: log).run {
            let summary = try job.run { try display.show($0) }
            display.end(summary)
            return try summary.json()
        }
    }

    /// What is read and what is written.
    private func files(_ prompts: [String]) throws -> JobFiles {
        var files = try outline(prompts).files
        files.inputs += content.files + [sampling.initialLatents].compactMap { $0 }
        files.outputs += [json, shownPreviewFile].compactMap { $0 }.map { .file($0) }
        return files
    }

    private var shownPreviewFile: String? {
        previewInterval == nil ? nil : previewFile ?? defaultPreviewFile
    }

    /// Where previews go when no terminal shows them.
    private var defaultPreviewFile: String? {
        let isShown = Terminal.standardError.isInteractive && [.auto, .bar].contains(progress)
        guard !isShown, output != "-" else { return nil }
        return URL(fileURLWithPath: output).deletingPathExtension().path + ".preview.png"
    }

    /// What the options ask for.
    func request() throws -> FileGenerationRequest { try request(content.prompts()) }

    /// What is asked for but pictures and other files that have to be read.
    private func outline(_ prompts: [String]) throws -> FileGenerationRequest {
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
        var request = try outline(prompts)
        try content.apply(
            to: &request.generation,
            frames: shape.frames ?? GenerationRequest.Control.mostFrames
        )
        try shape.apply(to: &request.generation)
        try sampling.apply(to: &request.generation)
        request.generation.previewInterval = previewInterval
        return request
    }
}
