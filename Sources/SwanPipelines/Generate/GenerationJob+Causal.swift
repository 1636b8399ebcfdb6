import Foundation
import SwanCheckpoints
import SwanModels
import SwanSystem
import Torch

extension GenerationJob {
    /// Makes the latents of a causal model's video, chunk by chunk with a KV cache: those of the
    /// stream of the same seed whose steps run one after another.
    ///
    /// - Parameter text: The prompt's embedding [1, T, C].
    /// - Returns: Latents [1, C, F, h, w].
    func streamLatents(_ stream: StreamConfiguration, _ text: Tensor) throws -> Tensor {
        var settings = StreamSettings()
        settings.steps = request.settings.steps
        settings.seed = request.settings.seed
        settings.streamBatch = false
        let options = try StreamOptions(stream, settings, fromText: true)
        let steps = try DenoisingPlan(options, dtype: model.dtype, device: model.device)
        let transformer = try open(.transformer) { try model.causalTransformer() }
        var shape = plan.latentShape
        let latentFrames = shape[2]
        shape[2] = stream.framesPerBlock
        var denoiser = try SingleStreamDenoiser(
            transformer,
            steps,
            cache: KVCacheOptions(stream),
            tokensPerFrame: model.transformerConfig.tokensPerFrame(
                height: shape[3],
                width: shape[4]
            ),
            dtype: model.dtype,
            device: model.device
        )
        let conditioning = try transformer.text(text)
        let count = (latentFrames + shape[2] - 1) / shape[2]
        var chunks: [Tensor] = []
        let began = ContinuousClock.now
        for chunk in 0..<count {
            try checkStop()
            let noise = try steps.noise(shape, NoiseKey(chunk: chunk, step: 0))
            let clean = try timedStep {
                try denoiser.denoise(noise, text: conditioning)
            }
            if let clean { chunks.append(clean) }
            let seconds = (ContinuousClock.now - began).seconds
            try handle(.step(chunk + 1, of: count, seconds: seconds))
        }
        // The last chunk may be longer than the video.
        let latents = try concatenated(chunks, dim: 2).narrowed(2, 0, latentFrames).to(.float32)
        try model.requireFinite(latents, .transformer, "the latents")
        return latents
    }
}
