import SwanCheckpoints
import SwanMedia
import SwanPipelines
import SwanSystem
import SwanTiny
import Torch

/// Held-out prompts of drawn scenes: what is asked for, and how it is said.
struct AskedScenes {
    let scenes: [DrawnScene]
    let claims: [SceneClaim]
    let texts: [String]

    /// The first `count` scenes of a seed.
    ///
    /// - Parameter kind: Only scenes of this kind; nil for all.
    init(_ count: Int, frames: Int, seed: UInt64, kind: DrawnScene.Kind? = nil) {
        let sampler = SceneSampler(frames: frames, seed: seed)
        let prompts = ScenePrompts(seed: seed)
        var (scenes, claims, texts) = ([DrawnScene](), [SceneClaim](), [String]())
        var index: UInt64 = 0
        while scenes.count < count {
            let scene = sampler.scene(index, .heldOut)
            if kind == nil || scene.kind == kind {
                let (claim, text) = prompts.prompt(for: scene, index: index)
                scenes.append(scene)
                claims.append(claim)
                texts.append(text)
            }
            index += 1
        }
        (self.scenes, self.claims, self.texts) = (scenes, claims, texts)
    }
}

/// What the videos of a set of prompts are like.
struct VideoFigures {
    var score = SceneScore()
    var texture = TextureMeans()
    /// The seconds of each video, from the prompt to the last frame.
    var seconds: [Double] = []
    /// Three frames of the first videos: the first, a middle and the last one.
    var pictures: [[Tensor]] = []
    private static let shown = 8

    mutating func add(_ clip: Tensor, _ claim: SceneClaim, seconds: Double) throws(SwanError) {
        score.add(try SceneMeasure.verdict(clip, claim), claim.kind)
        try texture.add(clip)
        self.seconds.append(seconds)
        guard pictures.count < Self.shown else { return }
        let last = clip.size(0) - 1
        pictures.append(
            try [0, last / 2, last].map { index throws(SwanError) in
                try clip.selected(0, index)
            }
        )
    }

    /// The share of prompts that are met.
    var met: Double { score.figures["met"] ?? .nan }

    var median: Double {
        seconds.isEmpty ? .nan : seconds.sorted()[seconds.count / 2]
    }
}

/// A causal model that makes videos from prompts with its cache, as `swan stream` does.
struct CausalVideos {
    let model: StreamModel
    var options: StreamOptions

    /// Opens a model.
    ///
    /// - Parameters:
    ///   - configuration: A model's `stream.yaml` in place of its own.
    ///   - steps: The denoising steps in use; nil for all.
    init(
        _ name: String,
        _ device: Device,
        configuration: String? = nil,
        steps: Int? = nil
    ) throws {
        let checkpoint = try StreamCheckpoint(name, configuration: configuration)
        let dtype = checkpoint.configuration.computeType(on: device)
        model = try checkpoint.load(dtype, device)
        var settings = StreamSettings()
        settings.steps = steps
        options = try StreamOptions(checkpoint.configuration, settings, fromText: true)
    }

    private init(_ model: StreamModel, _ options: StreamOptions) {
        (self.model, self.options) = (model, options)
    }

    /// The same model with the first `steps` denoising steps.
    func taking(steps: Int) throws -> CausalVideos {
        var settings = StreamSettings()
        settings.steps = steps
        let options = try StreamOptions(model.configuration, settings, fromText: true)
        return CausalVideos(model, options)
    }

    /// A stream of a prompt.
    func stream(_ prompt: String, seed: UInt64) throws -> VideoStream {
        var options = options
        options.settings.seed = seed
        return try VideoStream(model, prompt: prompt, options: options)
    }

    /// Makes a video, [T, 3, H, W] in [0, 1].
    func video(_ prompt: String, frames: Int, seed: UInt64) throws -> Tensor {
        let stream = try stream(prompt, seed: seed)
        var made: [VideoFrame] = []
        while made.count < frames { made += try stream.generate() }
        return try Tensor(clip: Array(made.prefix(frames)), of: model.name)
    }
}

/// A model that makes whole videos in many guided steps.
struct TeacherVideos {
    let generator: VideoGenerator

    init(_ name: String, _ device: String) throws {
        var opening = GenerationOptions()
        opening.device = device
        opening.offload = .none
        generator = VideoGenerator(try GenerationModel(name, options: opening))
        guard generator.model.stream == nil else {
            throw SwanError(
                .invalidModel,
                "\(name): is a causal model; the teacher is a model that sees all frames"
            )
        }
    }

    var frames: Int { generator.model.variant.defaults.frames }

    /// Makes a video, [T, 3, H, W] in [0, 1].
    ///
    /// - Parameters:
    ///   - start: Latents to begin with, and the few timesteps to take from there; nil for the
    ///     model's own steps from noise.
    func video(
        _ prompt: String,
        seed: UInt64,
        from start: (latents: Tensor, timesteps: [Double])? = nil
    ) throws -> Tensor {
        var request = GenerationRequest(prompt: prompt)
        request.settings.seed = seed
        request.settings.timesteps = start?.timesteps
        request.initialLatents = start?.latents
        var frames: [VideoFrame] = []
        _ = try generator.generate(request) { event in
            if case .frames(let next, _) = event { frames += next }
        }
        return try Tensor(clip: frames, of: generator.model.name)
    }
}
