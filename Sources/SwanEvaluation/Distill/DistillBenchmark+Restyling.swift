import SwanCheckpoints
import SwanMedia
import SwanModels
import SwanPipelines
import SwanSystem
import SwanTiny
import SwanTraining
import Torch

extension DistillBenchmark {
    /// The timesteps of restyling; the first is also the noise in the footage.
    private static let steps = [700, 500]
    /// The number of clips that are restyled.
    private static let mostClips = 40

    /// Drawn footage with noise of 0.7 and the prompt of another scene, by the student and by the
    /// teacher in the same two steps: whether things stay where they are, and whether the prompt is
    /// met.
    ///
    /// The prompt asks for other colors and shapes that move as those in the footage do.
    func restyling() throws -> [Figure] {
        let frames = teacher.frames
        let count = min(options.prompts, Self.mostClips)
        let asked = AskedScenes(count, frames: frames, seed: options.seed)
        let footage = try asked.scenes.enumerated().map { index, scene in
            try scene.dressedAnew(index).clip(size: student.options.height)
        }
        let streamed = try restyled("student", asked, footage) { index, clip in
            try stream(clip, asked.texts[index], seed: Seed.mixed(options.seed, UInt64(index)))
        }
        let guided = try restyled("teacher", asked, footage) { index, clip in
            let seed = Seed.mixed(options.seed, UInt64(index))
            let start = (try noised(clip, seed), Self.steps.map(Double.init))
            return try teacher.video(asked.texts[index], seed: seed, from: start)
        }
        return [
            Figure("restyle_structure", streamed.structure),
            Figure("restyle_structure_teacher", guided.structure),
            Figure(
                "restyle_structure_gain",
                streamed.structure - guided.structure,
                "",
                .atLeast(0.001)
            ),
            Figure("restyle_met", streamed.met),
            Figure("restyle_met_teacher", guided.met),
            Figure("restyle_met_gain", streamed.met - guided.met, "", .atLeast(0.001)),
        ]
    }

    private func restyled(
        _ name: String,
        _ asked: AskedScenes,
        _ footage: [Tensor],
        _ make: (Int, Tensor) throws -> Tensor
    ) throws -> (structure: Double, met: Double) {
        var figures = VideoFigures()
        var structure = 0.0
        for (index, clip) in footage.enumerated() {
            let made = try make(index, clip)
            try figures.add(made, asked.claims[index], seconds: 0)
            structure += try SceneMeasure.agreement(clip, made)
        }
        onProgress("restyling, \(name): \(figures.score)")
        return (structure / Double(footage.count), figures.met)
    }

    /// Restyles a clip as `swan stream` does.
    private func stream(_ clip: Tensor, _ prompt: String, seed: UInt64) throws -> Tensor {
        var videos = student
        videos.options.configuration.steps = Self.steps
        videos.options.configuration.noiseScale = Double(Self.steps[0]) / 1_000
        videos.options.settings.fixedNoise = true
        let stream = try videos.stream(prompt, seed: seed)
        var made: [VideoFrame] = []
        for frame in try clip.unbound() { made += try stream.push(try Self.frame(frame)) }
        made += try stream.finish()
        return try Tensor(clip: made, of: student.model.name)
    }

    private static func frame(_ picture: Tensor) throws -> VideoFrame {
        let bytes = try PixelMath.bytes(picture.permuted(1, 2, 0).contiguous())
        return try VideoFrame(
            width: picture.size(2),
            height: picture.size(1),
            pixels: bytes.array(of: UInt8.self),
            seconds: 0
        )
    }

    /// The latents of a clip with noise of the first step.
    private func noised(_ clip: Tensor, _ seed: UInt64) throws -> Tensor {
        let vae = student.model.vae
        let video = try (clip.unsqueezed(0).transposed(1, 2) * 2 - 1).contiguous()
        let latents = try inference {
            try vae.latents(of: video.to(vae.device, vae.dtype)).to(.cpu, .float32)
        }
        let level = Double(Self.steps[0]) / 1_000
        let noise = try Tensor.randn(latents.shape, Generator(seed: seed))
        return try latents * (1 - level) + noise * level
    }
}
