import SwanModels
import SwanPipelines
import SwanSystem
import Torch
import TorchNN

extension Benchmark {
    /// A guided step at the width of the 1.3B transformer, and both VAE decoders at their published sizes.
    static func generation(_ options: BenchmarkOptions) throws -> [Measurement] {
        try [denoisingStep(options)]
            + [("vae21", WanVAEConfig.wan21), ("vae22", .wan22)].map {
                try decoder($0.0, $0.1, options)
            }
    }

    private static func denoisingStep(_ options: BenchmarkOptions) throws -> Measurement {
        var config = WanConfig.wan1_3B
        config.layers = 4
        let (frames, height, width) = (3, 60, 104)
        let (dtype, device) = (options.computeType, options.device)
        let network = try WanTransformer(options.weights(keepsStorage: true), config)
        let generator = try Generator(seed: 0)
        func text() throws -> Tensor {
            try Tensor.randn([1, config.textLen, config.textDim], generator)
                .to(device, dtype)
        }
        let transformer = try GuidedTransformer(
            FlowTransformer(network),
            prompt: text(),
            negative: text(),
            image: nil,
            guidance: Guidance(scale: 5)
        )
        let input = DenoisingInput(dtype: dtype)
        let latents = try Tensor.randn([1, config.inDim, frames, height, width], generator)
            .to(device)
        let timesteps = try input.timesteps(700, frames: frames, on: device)
        return try Measurement(
            "generate step",
            "\(config.layers) blocks of 1.3B, latents of \(frames)x\(height)x\(width), guided",
            dtype: dtype,
            on: device,
            rounds: options.rounds
        ) { _ = try transformer.flow(input.latents(latents), timesteps: timesteps) }
    }

    private static func decoder(
        _ name: String,
        _ config: WanVAEConfig,
        _ options: BenchmarkOptions
    ) throws -> Measurement {
        let (frames, height, width) = (3, 128, 208)
        let vae = try WanVAE(options.weights(), config)
        let size = try vae.latentSize(height: height, width: width)
        let shape = [1, config.zDim, frames, size.height, size.width]
        let latents = try Tensor.randn(shape, Generator(seed: 0))
            .to(options.device, vae.dtype)
        return try Measurement(
            "\(name) decode",
            "\(vae.videoFrames(ofLatents: frames)) frames of \(width)x\(height), in one pass",
            dtype: vae.dtype,
            on: options.device,
            rounds: options.rounds
        ) { _ = try vae.video(of: latents) }
    }
}
