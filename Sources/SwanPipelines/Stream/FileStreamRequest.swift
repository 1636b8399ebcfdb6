import Foundation
import SwanCheckpoints
public import SwanMedia
public import SwanSystem
import SwanText
public import Torch

/// What a stream from a file to a file is asked for.
public struct FileStreamRequest: Sendable {
    /// The input's path, `-` for standard input; nil to stream from text alone.
    public var input: String?
    /// The output's path, `-` for standard output.
    public var output: String
    /// What the video should look like.
    public var prompt: String
    /// Other prompts, each from a frame on.
    public var laterPrompts: [Int: String] = [:]
    /// The model: a bundled one's name or a folder.
    public var model = BundledModels.names[0]
    /// The autoencoder: `tiny` for the tiny one in the model's folder, `tiny-decoder` for its decoder
    /// with the model's own encoder, or a path of another; nil for the model's own.
    public var vae: String?
    /// A YAML file to stream by, instead of the model's own.
    public var configuration: String?
    /// How the stream differs from what the model says.
    public var settings = StreamSettings()
    /// Resamples the input to this rate; or the rate of a video from text. nil for the input's.
    public var frameRate: Double?
    /// Ends the stream after so many frames. Text alone needs it.
    public var maxFrames: Int?
    /// Where the model runs: `auto`, `cpu`, `cuda` or `cuda:1`.
    public var device = "auto"
    /// What the weights are converted to; nil for what suits the device.
    public var dtype: DType?
    /// Whether a file that has the output's name at the end is replaced.
    public var overwrites = true

    /// A stream from `input` to `output`, to be changed.
    public init(input: String?, output: String, prompt: String) {
        self.input = input
        self.output = output
        self.prompt = prompt
    }

    /// What is read and what is written.
    public var files: JobFiles {
        var files = JobFiles()
        files.inputs = [input, configuration, vae].compactMap { $0 }
        files.models = [BundledModels.folder(model) ?? model]
        files.outputs = [.video(output)]
        return files
    }

    /// Throws for what can be seen to be wrong without opening a file.
    public func check() throws(SwanError) {
        func require(_ holds: Bool, _ message: @autoclosure () -> String) throws(SwanError) {
            if !holds { throw SwanError(.invalidRequest, message()) }
        }
        try require(!output.isEmpty, "the output has no name")
        try require(input != "", "the input has no name")
        try require(
            vae != "",
            "the autoencoder has no name: it is 'tiny', 'tiny-decoder' or a path"
        )
        try require(
            !cleanPrompt(prompt).isEmpty,
            "the prompt is empty: say what the video should look like"
        )
        for (frame, text) in laterPrompts {
            try require(frame >= 0, "a prompt from frame \(frame) on: frames are counted from 0")
            try require(!cleanPrompt(text).isEmpty, "the prompt from frame \(frame) on is empty")
        }
        try settings.check()
        if let frameRate {
            try require(
                (0.1...1_000).contains(frameRate),
                "a frame rate of \(frameRate) is not in 0.1 ... 1000"
            )
        }
        if let maxFrames {
            try require(maxFrames >= 1, "\(maxFrames) frames: at least 1 is needed")
        }
        try require(
            input != nil || maxFrames != nil,
            "a stream without an input has no end: say how many frames it has (--max-frames)"
        )
    }

    /// Throws for a model that was trained to restyle: from noise alone it makes noise.
    private static func requireGenerating(
        _ folder: ModelFolder,
        _ stream: StreamConfiguration
    ) throws(SwanError) {
        // `swan train` leaves its recipe in the folder.
        guard folder.file("recipe.yaml") != nil, let step = stream.steps.first,
            step < leastStepFromNoise
        else { return }
        throw SwanError(
            .invalidRequest,
            "\(folder.path): this model restyles videos and makes none from a prompt alone: name an "
                + "input (swan stream in.mp4 …), or another model (--model)"
        )
    }

    /// A model whose first step is lower has never seen noise alone.
    static let leastStepFromNoise = 500

    /// How it will be met, but for what depends on the input; reads the small files of the model, not its
    /// weights.
    func draft() throws -> StreamDraft {
        try check()
        if let configuration, !FileManager.default.fileExists(atPath: configuration) {
            throw SwanError(.noSuchFile, "\(configuration): no such file")
        }
        let checkpoint = try StreamCheckpoint(model, vae: vae, configuration: configuration)
        let options = try StreamOptions(checkpoint.configuration, settings)
        if input == nil { try Self.requireGenerating(checkpoint.folder, options.configuration) }
        // A side that was not asked for is chosen to fit.
        let follows = input != nil && (settings.height == nil || settings.width == nil)
        try FrameSize.check(
            height: follows ? settings.height ?? checkpoint.configs.sizeMultiple : options.height,
            width: follows ? settings.width ?? checkpoint.configs.sizeMultiple : options.width,
            multiple: checkpoint.configs.sizeMultiple
        )
        let place = try Device(named: device)
        return StreamDraft(
            request: self,
            checkpoint: checkpoint,
            options: options,
            device: place,
            dtype: dtype ?? options.configuration.computeType(on: place)
        )
    }

    /// How it will be met for frames of a shape, nil for text alone.
    func plan(for frames: FrameShape? = nil) throws -> StreamPlan {
        try draft().plan(for: frames)
    }
}

/// How a request will be met, but for the size.
struct StreamDraft {
    let request: FileStreamRequest
    let checkpoint: StreamCheckpoint
    /// With the model's size, or as much of another one as was asked for.
    let options: StreamOptions
    let device: Device
    let dtype: DType

    /// Chooses the size for frames of a shape, nil for text alone.
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
            beside: AddressSpaceNeeds.perStreamByte * needed,
            copies: 2,
            "try a smaller --width and --height"
        )
        if device == .cpu, let free = ProcessFacts.availableMemoryBytes, needed > free {
            throw SwanError(
                .outOfMemory,
                """
                a stream of \(options.width)x\(options.height) needs some \(needed / 1_000_000) MB \
                beside its weights, and \(free / 1_000_000) MB are free: take a smaller --width and --height
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

    /// What a user should know of the size.
    private func notes(on options: StreamOptions, _ frames: FrameShape) -> [String] {
        var notes: [String] = []
        let own = StreamOptions(options.configuration)
        let isChosen = request.settings.width == nil || request.settings.height == nil
        if isChosen, (options.width, options.height) != (own.width, own.height) {
            notes.append(
                "the output has \(options.width)x\(options.height) pixels, in the shape of the input; "
                    + "the model's own size is \(own.width)x\(own.height)"
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

/// How a request will be met.
struct StreamPlan {
    /// The model, opened.
    let checkpoint: StreamCheckpoint
    let options: StreamOptions
    let device: Device
    let dtype: DType
    /// What a user should know of the size.
    let notes: [String]

    /// The size of the frames that come out.
    var outputSize: (width: Int, height: Int) {
        (options.outputWidth ?? options.width, options.outputHeight ?? options.height)
    }
}
