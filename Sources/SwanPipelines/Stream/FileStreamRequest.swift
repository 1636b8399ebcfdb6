import Foundation
import SwanCheckpoints
package import SwanMedia
public import SwanSystem
import SwanText
public import Torch

/// The settings of a stream from a file to a file.
public struct FileStreamRequest: Sendable {
    /// The input's path, or `-` for standard input; `nil` to stream from text alone.
    public var input: String?
    /// Pictures that together are the input, in this order; `input` then names them in messages.
    public var pictures: [String] = []
    /// The output's path, or `-` for standard output.
    public var output: String
    /// The name of the output's format, such as `mkv`; `nil` for that of the path's extension.
    public var format: String?
    /// A description of what the video should look like.
    public var prompt: String
    /// Later prompts, keyed by the frame at which they take effect.
    public var laterPrompts: [Int: String] = [:]
    /// Later prompts, keyed by the time in seconds at which they take effect.
    public var timedPrompts: [Double: String] = [:]
    /// The model: the name of a bundled one, or a folder.
    public var model = BundledModels.names[0]
    /// The autoencoder: `tiny` for the tiny autoencoder in the model's folder, `tiny-decoder` for
    /// its decoder with the model's own encoder, or the path of another one; `nil` for the model's
    /// own.
    public var vae: String?
    /// The path of a YAML streaming configuration that replaces the model's own.
    public var configuration: String?
    /// LoRAs for the transformer, merged into its weights.
    public var loras: [GenerationOptions.LoRAFile] = []
    /// Whether a LoRA with keys that have no place in the model is an error; otherwise they are left
    /// out with a warning.
    public var requiresWholeLoRAs = false
    /// How the stream differs from the model's own configuration.
    public var settings = StreamSettings()
    /// The frame rate to resample the input to, or of a video from text; `nil` for the input's.
    public var frameRate: Double?
    /// The maximum number of frames to stream; required without an input.
    public var maxFrames: Int?
    /// The device the model runs on: `auto`, `cpu`, `cuda` or `cuda:1`.
    public var device = "auto"
    /// The dtype that weights are converted to; `nil` for the best one for the device.
    public var dtype: DType?
    /// Whether a file that exists under the output's name when the job finishes is replaced.
    public var overwrites = true

    /// Creates a request with default settings.
    public init(input: String?, output: String, prompt: String) {
        self.input = input
        self.output = output
        self.prompt = prompt
    }

    /// The files that the job reads and writes.
    package var files: JobFiles {
        var files = JobFiles()
        files.inputs = [input, configuration, vae].compactMap { $0 } + pictures
        files.models = [ModelLocation.path(model)] + loras.map(\.path)
        files.outputs = [.video(output, format: format)]
        return files
    }

    /// Throws for anything that is invalid regardless of the files' contents.
    public func check() throws(SwanError) {
        func require(_ holds: Bool, _ message: @autoclosure () -> String) throws(SwanError) {
            if !holds { throw SwanError(.invalidRequest, message()) }
        }
        try require(!output.isEmpty, "the path of the output is empty")
        try require(input != "", "the path of the input is empty")
        if format != nil, !output.isEmpty, try !MediaLocation(output).isLive {
            do throws(SwanError) {
                try OutputNames.check(output, format: format)
            } catch {
                throw SwanError(.invalidRequest, error.message, cause: error)
            }
        }
        try require(
            vae != "",
            "the autoencoder is empty; specify 'tiny', 'tiny-decoder' or a path"
        )
        try require(
            !cleanPrompt(prompt).isEmpty,
            "the prompt is empty; describe what the video should look like"
        )
        for (frame, text) in laterPrompts {
            try require(frame >= 0, "a prompt at frame \(frame) is invalid; frames start at 0")
            try require(!cleanPrompt(text).isEmpty, "the prompt at frame \(frame) is empty")
        }
        for (seconds, text) in timedPrompts {
            try require(
                seconds >= 0 && seconds.isFinite,
                "a prompt at \(seconds) s is invalid; times start at 0"
            )
            try require(!cleanPrompt(text).isEmpty, "the prompt at \(seconds) s is empty")
        }
        try settings.check()
        if let frameRate {
            try require(
                (0.1...1_000).contains(frameRate),
                "the frame rate must be 0.1 to 1000 frames per second, not \(frameRate)"
            )
        }
        if let maxFrames {
            try require(
                maxFrames >= 1,
                "the maximum number of frames must be at least 1, not \(maxFrames)"
            )
        }
        try require(
            input == nil || settings.zeroStep == nil,
            "timestep 0 as a last step (--zero-step) is for a stream without an input"
        )
        try require(
            input != nil || maxFrames != nil,
            "a stream without an input never ends; specify the number of frames (--max-frames)"
        )
    }

    /// Throws for a model that was trained only to restyle: from pure noise it produces noise.
    private static func requireGenerating(
        _ folder: ModelFolder,
        _ stream: StreamConfiguration
    ) throws(SwanError) {
        // `swan train` writes its recipe into the folder.
        guard folder.file("recipe.yaml") != nil, let step = stream.steps.first,
            step < leastStepFromNoise
        else { return }
        throw SwanError(
            .invalidRequest,
            "\(folder.path): this model restyles videos and cannot generate from a prompt alone; "
                + "specify an input (swan stream in.mp4 …) or another model (--model)"
        )
    }

    /// A model whose first step is below this was never trained on pure noise.
    static let leastStepFromNoise = 500

    /// Resolves everything that does not depend on the input. Reads the model's small files, but
    /// not its weights.
    func draft() throws -> StreamDraft {
        try check()
        if let configuration, !FileManager.default.fileExists(atPath: configuration) {
            throw SwanError(.noSuchFile, "\(configuration): no such file")
        }
        let checkpoint = try StreamCheckpoint(
            model,
            vae: vae,
            configuration: configuration,
            loras: loras,
            requiresWholeLoRAs: requiresWholeLoRAs
        )
        let options = try StreamOptions(
            checkpoint.configuration,
            settings,
            fromText: input == nil
        )
        if input == nil { try Self.requireGenerating(checkpoint.folder, options.configuration) }
        // An unspecified side is chosen to fit later.
        let follows = input != nil && (settings.height == nil || settings.width == nil)
        try FrameSize.check(
            height: follows ? settings.height ?? checkpoint.configs.sizeMultiple : options.height,
            width: follows ? settings.width ?? checkpoint.configs.sizeMultiple : options.width,
            multiple: checkpoint.configs.sizeMultiple
        )
        let chosen = try Device(named: device)
        return StreamDraft(
            request: self,
            checkpoint: checkpoint,
            options: options,
            device: chosen,
            dtype: dtype ?? options.configuration.computeType(on: chosen)
        )
    }

    /// Resolves the request for input frames of a shape; `nil` for text alone.
    func plan(for frames: FrameShape? = nil) throws -> StreamPlan {
        try draft().plan(for: frames)
    }
}

/// A resolved request, except for the size.
struct StreamDraft {
    let request: FileStreamRequest
    let checkpoint: StreamCheckpoint
    /// The options with the model's size, or the sides that were requested.
    let options: StreamOptions
    let device: Device
    let dtype: DType

    /// Chooses the size for input frames of a shape; `nil` for text alone.
    func plan(for frames: FrameShape?) throws -> StreamPlan {
        var options = options
        if let frames {
            options.setSize(
                for: frames,
                multiple: checkpoint.configs.sizeMultiple,
                width: request.settings.width,
                height: request.settings.height,
                fit: request.settings.fit
            )
        }
        let needed = checkpoint.configs.streamBytes(options, dtype)
        try checkpoint.folder.requireAddressSpace(
            inAdditionToFiles: AddressSpaceNeeds.perStreamByte * needed,
            copies: 2,
            "try a smaller --width and --height"
        )
        if device == .cpu, let free = ProcessFacts.availableMemoryBytes, needed > free {
            throw SwanError(
                .outOfMemory,
                """
                a stream of \(options.width)x\(options.height) needs about \
                \(needed / 1_000_000) MB in addition to its weights, but only \
                \(free / 1_000_000) MB are free; try a smaller --width and --height
                """
            )
        }
        let notes = frames.map { self.notes(on: options, $0) } ?? []
        return StreamPlan(
            checkpoint: checkpoint,
            options: options,
            device: device,
            dtype: dtype,
            notes: notes
        )
    }

    /// The notes to show the user about the chosen size.
    private func notes(on options: StreamOptions, _ frames: FrameShape) -> [String] {
        var notes: [String] = []
        let own = StreamOptions(options.configuration)
        let isChosen = request.settings.width == nil || request.settings.height == nil
        if isChosen, (options.width, options.height) != (own.width, own.height) {
            notes.append(
                "the output has \(options.width)x\(options.height) pixels, to match the input's "
                    + "aspect ratio; the model's own size is \(own.width)x\(own.height)"
            )
        }
        if let width = options.outputWidth, let height = options.outputHeight {
            notes.append(
                "the picture has \(options.width)x\(options.height) pixels, with black bars to "
                    + "\(width)x\(height)"
            )
        }
        let cut = Int((100 * options.cutShare(of: frames)).rounded())
        if cut > 2 {
            notes.append(
                "\(cut) % of each frame is cut off to fit \(options.width)x\(options.height)"
                    + (isChosen || request.settings.fit != .crop
                        ? "" : "; --fit pad keeps all of it, with black bars")
            )
        }
        return notes
    }
}

/// A resolved request.
struct StreamPlan {
    /// The opened model.
    let checkpoint: StreamCheckpoint
    let options: StreamOptions
    let device: Device
    let dtype: DType
    /// The notes to show the user about the chosen size.
    let notes: [String]

    /// The size of the output frames.
    var outputSize: (width: Int, height: Int) {
        (options.outputWidth ?? options.width, options.outputHeight ?? options.height)
    }
}

// MARK: - The input and the shape of the output

extension FileStreamRequest {
    private var rate: Rational? { frameRate.flatMap { Rational($0) } }

    /// Opens the input; nil for a stream from text alone.
    func openInput() throws -> FileStreamInput? {
        try input.map { path in
            try FileStreamInput(
                path,
                pictures: pictures,
                frameRate: rate,
                maxFrames: maxFrames,
                fit: settings.fit
            )
        }
    }

    /// The size, rate and length of the output.
    func shape(
        of input: FileStreamInput?,
        _ plan: StreamPlan,
        _ draft: StreamDraft
    ) -> FileStreamOutput.Shape {
        // Wan's videos have 16 frames per second.
        let own = draft.options.configuration.fps.flatMap { Rational($0) }
        return FileStreamOutput.Shape(
            width: plan.outputSize.width,
            height: plan.outputSize.height,
            frameRate: input?.info.frameRate ?? rate ?? own ?? Rational(16) ?? .one,
            frames: input.map(\.estimatedFrames) ?? maxFrames,
            varies: input?.info.varies ?? false
        )
    }
}
