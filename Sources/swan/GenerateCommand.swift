import ArgumentParser
import Foundation
import Logging
import SwanMedia
import SwanPipelines
import Torch

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
              swan generate --model Wan2.2-TI2V-5B --prompt "she smiles" --image a.jpg -o a.mp4
              swan generate --model Wan2.1-FLF2V-14B-720P --prompt "a day goes by" \\
                --image dawn.png --last-image dusk.png -o day.mp4
              swan generate --model Wan2.2-T2V-A14B --prompts list.txt --n 2 -o out/clip.mp4
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
        let job = FileGeneration(try request(), log: log)
        // A video that is not finished is none: there is nothing to wait for.
        let signals = StopSignals(
            stop: {
                job.requestStop()
                return false
            },
            abandon: { job.abandon() }
        )
        var display = GenerationDisplay(
            progress,
            previewFile: previewInterval == nil ? nil : previewFile ?? defaultPreviewFile
        )
        let report = try JSONReport(json)
        if RawArguments.areDamaged {
            log.warning("an argument is not valid UTF-8; its broken bytes are read as U+FFFD")
        }
        let summary: GenerationSummary
        do {
            summary = try job.run { try display.show($0) }
        } catch {
            if let code = signals.exitCode { throw ExitCode(code) }
            Terminal.standardError.clear()
            throw error
        }
        display.end(summary)
        try report.write(summary.json())
        if let code = signals.exitCode { throw ExitCode(code) }
    }

    /// Where previews go when no terminal shows them.
    private var defaultPreviewFile: String? {
        guard !Terminal.standardError.isInteractive, output != "-" else { return nil }
        return URL(fileURLWithPath: output).deletingPathExtension().path + ".preview.png"
    }

    /// What the options ask for.
    func request() throws -> FileGenerationRequest {
        let prompts = try content.prompts()
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
        try content.apply(to: &request.generation)
        try shape.apply(to: &request.generation)
        try sampling.apply(to: &request.generation)
        request.generation.previewInterval = previewInterval
        return request
    }
}

/// What a video should show.
struct ContentOptions: ParsableArguments {
    @Option(parsing: .unconditional, help: "What the video should show.")
    var prompt: String?

    @Option(
        name: .customLong("prompts"),
        help: ArgumentHelp("A file with a prompt in each line, a video for each.", valueName: "file")
    )
    var promptFile: String?

    @Option(
        name: .customLong("negative-prompt"),
        parsing: .unconditional,
        help: "What it should not look like; the authors' text if not given, \"\" for nothing."
    )
    var negativePrompt: String?

    @Option(help: ArgumentHelp("The first frame.", valueName: "file"))
    var image: String?

    @Option(
        name: .customLong("last-image"),
        help: ArgumentHelp("The last frame, for models that take one.", valueName: "file")
    )
    var lastImage: String?

    @Option(
        name: .customLong("control"),
        help: ArgumentHelp("A video that a VACE model follows.", valueName: "file")
    )
    var controlVideo: String?

    @Option(
        name: .customLong("mask"),
        help: ArgumentHelp("White where a VACE model paints anew: a video.", valueName: "file")
    )
    var mask: String?

    @Option(
        name: .customLong("reference"),
        help: ArgumentHelp("What should appear, for VACE; can be given again.", valueName: "file")
    )
    var references: [String] = []

    @Option(
        name: .customLong("control-scale"),
        parsing: .unconditional,
        help: "How strongly the control acts."
    )
    var controlScale = 1.0

    @Option(
        name: .customLong("n"),
        parsing: .unconditional,
        help: ArgumentHelp("Videos for each prompt, with seeds one after another.", valueName: "n")
    )
    var variants = 1

    @Option(parsing: .unconditional, help: "Seed of all random numbers.")
    var seed: UInt64 = 0

    func validate() throws {
        guard (prompt == nil) != (promptFile == nil) else {
            throw ValidationError("give a prompt (--prompt), or a file of them (--prompts)")
        }
        guard mask == nil || controlVideo != nil else {
            throw ValidationError("a mask is for a control video (--control)")
        }
    }

    func prompts() throws -> [String] {
        guard let promptFile else { return [prompt ?? ""] }
        guard let data = FileManager.default.contents(atPath: promptFile) else {
            throw SwanError(.noSuchFile, "\(promptFile): cannot be read, as a file of prompts")
        }
        let lines = String(decoding: data, as: UTF8.self)
            .split(whereSeparator: \.isNewline)
            .map { $0.trimmingCharacters(in: .whitespaces) }
            .filter { !$0.isEmpty }
        guard !lines.isEmpty else {
            throw SwanError(.invalidRequest, "\(promptFile): has no prompt in any line")
        }
        return lines
    }

    func apply(to request: inout GenerationRequest) throws {
        request.negativePrompt = negativePrompt
        request.seed = seed
        request.image = try image.map { try readImage($0) }
        request.lastImage = try lastImage.map { try readImage($0) }
        guard controlVideo != nil || !references.isEmpty else { return }
        var control = GenerationRequest.Control()
        control.video = try controlVideo.map { try Self.frames($0) } ?? []
        control.masks = try mask.map { try Self.frames($0) } ?? []
        control.references = try references.map { try readImage($0) }
        control.scale = controlScale
        request.control = control
    }

    /// The frames of a video, as many as a generated one can have.
    private static func frames(_ path: String) throws -> [VideoFrame] {
        let reader = try VideoReader(path: path)
        var frames: [VideoFrame] = []
        while frames.count < GenerationRequest.mostFrames, let frame = try reader.nextFrame() {
            frames.append(frame)
        }
        return frames
    }
}

/// How large and how long a video is.
struct ShapeOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Exactly this size; given pictures are scaled to cover it and cut.",
            valueName: "WxH"
        )
    )
    var size: SizeArgument?

    @Option(
        help: ArgumentHelp(
            "About this many pixels, in the ratio of the picture given.",
            valueName: "480p|720p|WxH"
        )
    )
    var area: AreaArgument?

    @Option(parsing: .unconditional, help: "Frames of the video: 4n + 1, such as 81.")
    var frames: Int?

    @Option(parsing: .unconditional, help: "Frames a second; the model's own if not given.")
    var fps: Double?

    func apply(to request: inout GenerationRequest) throws {
        request.size = size.map { .init(width: $0.width, height: $0.height) }
        request.area = area?.pixels
        request.frames = frames
    }
}

/// `832x480`
struct SizeArgument: ExpressibleByArgument {
    let width, height: Int

    init?(argument: String) {
        let sides = argument.split(separator: /[x*×]/, omittingEmptySubsequences: false)
        guard sides.count == 2, let width = Int(sides[0]), let height = Int(sides[1]), width > 0,
            height > 0
        else { return nil }
        (self.width, self.height) = (width, height)
    }
}

/// `480p`, `720p`, or the area of a size.
struct AreaArgument: ExpressibleByArgument {
    let pixels: Int

    init?(argument: String) {
        switch argument {
        case "480p": pixels = 832 * 480
        case "720p": pixels = 1_280 * 720
        default:
            guard let size = SizeArgument(argument: argument) else { return nil }
            let (area, overflow) = size.width.multipliedReportingOverflow(by: size.height)
            guard !overflow else { return nil }
            pixels = area
        }
    }
}

/// How the flow is followed.
struct SamplingOptions: ParsableArguments {
    @Option(parsing: .unconditional, help: "Steps of the solver.")
    var steps: Int?

    @Option(help: "What follows the flow.")
    var solver = GenerationRequest.Solver.unipc

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "The falling timesteps of a distilled model, noised again between them.",
            valueName: "t,t,…"
        )
    )
    var timesteps: TimestepsArgument?

    @Option(parsing: .unconditional, help: "How far noise levels are shifted to more noise.")
    var shift: Double?

    @Option(
        help: "Whose noise levels; that of the checkpoint's layout (wan, diffusers) if not given."
    )
    var schedule: GenerationRequest.Schedule?

    @Option(parsing: .unconditional, help: "How closely the prompt is followed; 1 for no guidance.")
    var guidance: Double?

    @Option(
        name: .customLong("guidance-low"),
        parsing: .unconditional,
        help: "The same below the boundary of two experts."
    )
    var lowGuidance: Double?

    @Option(
        name: .customLong("guidance-high"),
        parsing: .unconditional,
        help: "The same above the boundary of two experts."
    )
    var highGuidance: Double?

    @Option(
        parsing: .unconditional,
        help: "The noise level (0 ... 1) at which the experts change over."
    )
    var boundary: Double?

    @Flag(
        name: .customLong("batch-guidance"),
        inversion: .prefixedNo,
        help: "Run both branches of the guidance side by side: more memory. Small videos do so."
    )
    var batchesGuidance: Bool?

    @Option(
        name: .customLong("cache"),
        parsing: .unconditional,
        help: ArgumentHelp(
            "Reuse a step's blocks while the first one's output changes less than this, such as 0.05.",
            valueName: "threshold"
        )
    )
    var cacheThreshold: Double?

    @Option(
        name: .customLong("init-latents"),
        help: ArgumentHelp(
            "Begin from 'latents' or the only tensor of a safetensors file, instead of the seed's noise.",
            valueName: "file"
        )
    )
    var initialLatents: String?

    func apply(to request: inout GenerationRequest) throws {
        request.steps = steps
        request.solver = solver
        request.timesteps = timesteps?.values
        request.shift = shift
        request.schedule = schedule
        request.guidance = guidance
        (request.lowNoiseGuidance, request.highNoiseGuidance) = (lowGuidance, highGuidance)
        request.boundary = boundary
        request.batchesGuidance = batchesGuidance
        request.cacheThreshold = cacheThreshold
        guard let initialLatents else { return }
        let file = try SafetensorsFile(path: initialLatents)
        let key = file.keys.count == 1 ? file.keys[0] : "latents"
        request.initialLatents = try file.tensor(key)
    }
}

/// `1000,750,500,250`
struct TimestepsArgument: ExpressibleByArgument {
    let values: [Double]

    init?(argument: String) {
        let values = argument.split(separator: ",").map { Double($0.trimmingPrefix(" ")) }
        guard !values.isEmpty, !values.contains(nil) else { return nil }
        self.values = values.compactMap { $0 }
    }
}

extension GenerationRequest.Solver: ExpressibleByArgument {}
extension GenerationRequest.Schedule: ExpressibleByArgument {}
extension GenerationOptions.Offload: ExpressibleByArgument {}

/// Which checkpoint, and how it is opened.
struct CheckpointOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The checkpoint.", valueName: "folder or file"))
    var model: String

    @Option(
        help: ArgumentHelp(
            "Another autoencoder: 'tiny' for the tiny one (taew2_1, taew2_2) in the model's folder.",
            valueName: "tiny or path"
        )
    )
    var vae: String?

    @Option(
        name: .customLong("text-encoder"),
        help: ArgumentHelp("The text encoder's weights, if not in the folder.", valueName: "file")
    )
    var textEncoder: String?

    @Option(
        name: .customLong("image-encoder"),
        help: ArgumentHelp("CLIP's weights, if not in the folder.", valueName: "file")
    )
    var imageEncoder: String?

    @Option(
        help: ArgumentHelp(
            "spiece.model or tokenizer.json, if not in the folder.",
            valueName: "file"
        )
    )
    var tokenizer: String?

    @Option(
        name: .customLong("lora"),
        parsing: .unconditionalSingleValue,
        help: ArgumentHelp(
            "A LoRA, and how much of it (1); high:FILE or low:FILE for one of two experts. Can be "
                + "given again.",
            valueName: "file[=scale]"
        )
    )
    var loras: [LoRAArgument] = []

    @Option(help: "What leaves memory while it is not needed: none, model (parts), block.")
    var offload = GenerationOptions.Offload.model

    @Flag(name: .customLong("t5-cpu"), help: "Keep the text encoder on the CPU.")
    var textEncoderOnCPU = false

    @Flag(
        name: .customLong("vae-tiling"),
        help: "Put pictures through the autoencoder in overlapping tiles: less memory."
    )
    var tilesVAE = false

    @Option(help: "auto (a GPU if there is one), cpu, cuda or cuda:N.")
    var device = DeviceName(name: "auto")

    @Option(
        help: """
            What is computed in; auto is bfloat16 where the processor or GPU has instructions for it, \
            else float32.
            """
    )
    var dtype = WeightType.auto

    func options() throws -> GenerationOptions {
        var options = GenerationOptions()
        options.files = [
            .textEncoder: textEncoder, .imageEncoder: imageEncoder, .tokenizer: tokenizer,
        ].compactMapValues { $0 }
        options.vae = vae
        options.loras = loras.map(\.file)
        options.offload = offload
        options.textEncoderOnCPU = textEncoderOnCPU
        options.tilesVAE = tilesVAE
        options.device = device.name
        options.dtype = dtype.dtype
        return options
    }
}

/// `style.safetensors`, `style.safetensors=0.8`, `high:style.safetensors=0.8`
struct LoRAArgument: ExpressibleByArgument {
    let file: GenerationOptions.LoRAFile

    init?(argument: String) {
        var rest = argument[...]
        var expert: ModelFolder.Part?
        if rest.hasPrefix("high:") { expert = .transformer }
        if rest.hasPrefix("low:") { expert = .lowNoiseTransformer }
        if expert != nil { rest = rest[rest.index(after: rest.firstIndex(of: ":") ?? rest.startIndex)...] }
        var strength = 1.0
        if let equals = rest.lastIndex(of: "="), let value = Double(rest[equals...].dropFirst()) {
            guard value.isFinite else { return nil }
            strength = value
            rest = rest[..<equals]
        }
        guard !rest.isEmpty else { return nil }
        file = .init(String(rest), strength: strength, expert: expert)
    }
}
