package import SwanModels
import SwanSchedulers
import SwanSystem
package import Torch

/// How a student makes pictures: keys of its `config.json` besides the network's sizes.
package struct StudentSampling: Sendable, Equatable, Codable {
    /// The channels of the autoencoder's latents.
    package var latentChannels = 16
    /// The number of steps.
    package var steps = 10
    /// The shift of the noise levels.
    package var shift = 1.0
    /// Whether it was trained as published, and is sampled so.
    package var isParity = true

    /// Creates the settings of a student as published.
    package init() {}

    private enum CodingKeys: String, CodingKey {
        case latentChannels = "latent_channels", steps = "sample_steps", shift = "sample_shift"
        case isParity = "parity"
    }

    /// Decodes and checks; missing keys are those of a student as published.
    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        let base = StudentSampling()
        latentChannels =
            try values.decodeIfPresent(Int.self, forKey: .latentChannels) ?? base.latentChannels
        steps = try values.decodeIfPresent(Int.self, forKey: .steps) ?? base.steps
        shift = try values.decodeIfPresent(Double.self, forKey: .shift) ?? base.shift
        isParity = try values.decodeIfPresent(Bool.self, forKey: .isParity) ?? base.isParity
        let (channels, steps, shift) = (latentChannels, steps, shift)
        try checked(values) { () throws(SwanError) in
            try NumberLimits.require(channels, in: NumberLimits.width, "latent_channels")
            try NumberLimits.require(steps, in: 1...1_000, "sample_steps")
            try NumberLimits.require(shift, in: 1e-3...1_000, "sample_shift")
        }
    }

    /// What becomes of the student's last latents if it is sampled as published.
    package enum PublishedEnd: Sendable {
        /// Zeros: during training, by the projection that is zero.
        case zeros
        /// What the trained convolution makes of them: afterwards.
        case output
    }

    /// Makes latents [B, Z, H, W] from noise in the student's channels [B, C, H, W].
    ///
    /// - Parameters:
    ///   - text: The prompts' means [B, textDim].
    ///   - onStep: Called after each step with its number, from 1.
    package func latents(
        from noise: Tensor,
        _ student: ProjectedStudent,
        text: Tensor,
        publishedEnd: PublishedEnd = .output,
        onStep: (Int) throws -> Void = { _ in }
    ) throws -> Tensor {
        let rows = noise.size(0)
        func timesteps(_ value: Double) throws(SwanError) -> Tensor {
            try Tensor.full([rows], value).to(noise.device)
        }
        guard !isParity else {
            let last = try published(from: noise, onStep) { x, t in
                try student.network(x, timesteps: timesteps(t), text: text)
            }
            guard publishedEnd == .zeros, student.network.config.channels != latentChannels else {
                return try student.output(last)
            }
            return try Tensor.zeros(
                [rows, latentChannels, noise.size(2), noise.size(3)],
                noise.dtype,
                noise.device
            )
        }
        var done = 0
        let path = EulerPath(steps: steps, shift: shift)
        let last = try path(from: noise) { x, level in
            let flow = try student.flow(x, timesteps: timesteps(1_000 * level), text: text)
            done += 1
            try onStep(done)
            return try student.lowered(flow)
        }
        return try student.raised(last)
    }

    /// DDIM (https://arxiv.org/abs/2010.02502) with the student's output as noise and
    /// ᾱ = 1 - t / 1000 within 0.001 ... 0.999, at timesteps from 999 to 0.
    private func published(
        from noise: Tensor,
        _ onStep: (Int) throws -> Void,
        output: (_ x: Tensor, _ timestep: Double) throws -> Tensor
    ) throws -> Tensor {
        // As torch.linspace, rounded toward zero.
        let timesteps = (0..<steps).map { step in
            steps == 1 ? 999 : (999 - 999 * Double(step) / Double(steps - 1)).rounded(.down)
        }
        func alpha(_ timestep: Double) -> Double { min(0.999, max(0.001, 1 - timestep / 1_000)) }
        var x = noise
        for (step, timestep) in timesteps.enumerated() {
            let now = alpha(timestep)
            let next = step + 1 < steps ? alpha(timesteps[step + 1]) : 1
            let predicted = try output(x, timestep)
            let clean = try (x - predicted * (1 - now).squareRoot()) / now.squareRoot()
            x = try clean * next.squareRoot() + predicted * (1 - next).squareRoot()
            try onStep(step + 1)
        }
        return x
    }
}
