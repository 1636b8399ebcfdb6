import Foundation
import SwanCheckpoints
import SwanDatasets
import SwanMedia
import SwanPipelines
import SwanSystem
import SwanTraining
import Torch

/// Videos that show how training goes, made by the pipelines of `swan generate` and `swan stream`.
struct Previews: Sendable {
    private let settings: FineTuningSettings.Previews
    private let prompts: [String]
    private let model: String
    private let isCausal: Bool
    private let input: String?
    private let output: String
    private let device: String

    /// Reads the prompts.
    ///
    /// - Parameter output: The folder of the videos.
    init(
        _ settings: FineTuningSettings,
        model: String,
        root: String,
        output: String,
        device: Device
    ) throws {
        self.settings = settings.previews
        let path = settings.previews.prompts.map { FineTuning.path($0, root) }
        prompts = try path.map { try PromptFile($0).prompts } ?? []
        self.model = model
        isCausal = try ModelFolder(model).isCausal
        input = settings.previews.input.map { FineTuning.path($0, root) }
        if let input, !FileManager.default.fileExists(atPath: input) {
            throw SwanError(.noSuchFile, "sample_input: \(input): no such file")
        }
        self.output = output
        self.device = "\(device)"
    }

    /// Makes a video for each prompt; the sheet has a row for each, with its first, middle and last
    /// frame.
    ///
    /// - Parameters:
    ///   - loras: What is applied to the model.
    ///   - model: Another model in place of that of the settings.
    func draw(
        _ step: Int,
        loras: [GenerationOptions.LoRAFile] = [],
        model other: String? = nil
    ) throws -> [SampleSheet] {
        try FileManager.default.createDirectory(
            atPath: output,
            withIntermediateDirectories: true
        )
        var rows: [[Tensor]] = []
        for (index, prompt) in prompts.enumerated() {
            let path = output + String(format: "/%08d-%d.mp4", step, index)
            if isCausal {
                try stream(prompt, other ?? model, loras, to: path)
            } else {
                try generate(prompt, other ?? model, loras, to: path)
            }
            rows.append(try Self.frames(path))
        }
        let caption = prompts.joined(separator: "; ")
        return [try SampleSheet(rows, caption: "First, middle and last frame of: \(caption)")]
    }

    private func generate(
        _ prompt: String,
        _ model: String,
        _ loras: [GenerationOptions.LoRAFile],
        to path: String
    ) throws {
        var request = FileGenerationRequest(model: model, prompt: prompt, output: path)
        request.options.loras = loras
        request.options.device = device
        request.generation.image = try input.map { try readImage($0) }
        if let size = settings.size {
            request.generation.settings.size = .init(width: size.width, height: size.height)
            request.generation.settings.frames = size.frames
        }
        request.generation.settings.steps = settings.steps
        request.generation.settings.seed = settings.seed
        _ = try FileGeneration(request).run()
    }

    private func stream(
        _ prompt: String,
        _ model: String,
        _ loras: [GenerationOptions.LoRAFile],
        to path: String
    ) throws {
        var request = FileStreamRequest(input: input, output: path, prompt: prompt)
        request.model = model
        request.loras = loras
        request.device = device
        request.settings.steps = settings.steps
        request.settings.seed = settings.seed
        request.maxFrames = settings.size?.frames ?? 33
        if let size = settings.size {
            (request.settings.width, request.settings.height) = (size.width, size.height)
        }
        _ = try FileStream(request).run { _ in }
    }

    /// The first, middle and last frame of a video, [3, H, W] in [0, 1] each.
    private static func frames(_ path: String) throws -> [Tensor] {
        let reader = try VideoReader(path: path)
        var frames: [VideoFrame] = []
        while let frame = try reader.nextFrame() { frames.append(frame) }
        guard let last = frames.last else {
            throw SwanError(.invalidData, "\(path): the preview has no frames")
        }
        return try [frames[0], frames[frames.count / 2], last].map {
            try PixelMath.values(Footage.pixels(of: $0)).squeezed(0)
        }
    }
}
