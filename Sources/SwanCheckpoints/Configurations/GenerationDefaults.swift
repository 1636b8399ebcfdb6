package import SwanSystem
import Yams

/// How a model's videos are made unless a request says otherwise: `generate.yaml` in its folder.
///
/// It replaces the settings of Wan's authors for models of other sizes.
public struct GenerationDefaults: Codable, Sendable, Equatable {
    /// The task, where it does not follow from the number of channels.
    package var task: WanVariant.Task
    /// The size in pixels.
    package var width, height: Int
    /// The number of frames, and the frame rate of files.
    package var frames, framesPerSecond: Int
    /// The number of denoising steps.
    package var steps: Int
    /// The shift of the noise levels.
    package var shift: Double
    /// The guidance scale.
    package var guidance: Double
    /// The negative prompt.
    package var negativePrompt: String

    /// Creates defaults; the parameters are in the order of the properties.
    package init(
        task: WanVariant.Task,
        width: Int,
        height: Int,
        frames: Int,
        framesPerSecond: Int,
        steps: Int,
        shift: Double,
        guidance: Double,
        negativePrompt: String
    ) {
        self.task = task
        (self.width, self.height) = (width, height)
        (self.frames, self.framesPerSecond) = (frames, framesPerSecond)
        self.steps = steps
        self.shift = shift
        self.guidance = guidance
        self.negativePrompt = negativePrompt
    }

    private enum CodingKeys: String, CodingKey {
        case task, width, height, frames, framesPerSecond = "fps", steps, shift, guidance
        case negativePrompt = "negative_prompt"
    }

    /// Reads `generate.yaml`; nil if the folder has none.
    package init?(_ folder: ModelFolder) throws(SwanError) {
        guard let path = folder.file("generate.yaml") else { return nil }
        do {
            let text = try SmallFile.text(path)
            guard let node = try StrictYAML.compose(text) else {
                throw SwanError(.invalidModel, "\(path): is empty")
            }
            self = try YAMLDecoder().decode(Self.self, from: node)
        } catch let error as SwanError {
            throw error.as(.invalidModel)
        } catch {
            throw SwanError(
                .invalidModel,
                "\(path): cannot read the defaults: " + "\(error)".printable(limit: 1_000)
            )
        }
        try check(path)
    }

    private func check(_ path: String) throws(SwanError) {
        let limits = NumberLimits.self
        for (key, value, range) in [
            ("width", width, limits.side), ("height", height, limits.side),
            ("frames", frames, 1...16_385), ("fps", framesPerSecond, 1...1_000),
            ("steps", steps, 1...1_000),
        ] {
            try limits.require(value, in: range, key, of: path, .invalidModel)
        }
        try limits.require(shift, in: 1e-3...1_000, "shift", of: path, .invalidModel)
        try limits.require(guidance, in: 0...1_000, "guidance", of: path, .invalidModel)
        guard task == .textToVideo || task == .textOrImageToVideo else {
            throw SwanError(
                .invalidModel,
                "\(path): task is \(task.rawValue), which follows from the weights; only "
                    + "text-to-video and text-or-image-to-video may be set"
            )
        }
    }
}
