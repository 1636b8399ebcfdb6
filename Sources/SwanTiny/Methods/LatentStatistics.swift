import Foundation
import SwanModels
import SwanSystem
import SwanTraining
import Torch
import TorchNN

/// What there is to know of an autoencoder's latents before a transformer is trained on them.
struct LatentStatistics {
    /// What is subtracted from each channel, and what it is then divided by.
    let mean, std: [Double]
    /// How much an error in each normalised channel counts, 1 on average.
    let weights: [Double]

    /// - Parameter keepsNormalization: takes mean and deviation from the config and measures the weights
    ///   alone.
    ///
    /// Measured over clips of `size` pixels from the index `firstIndex` on.
    ///
    /// A channel's importance is the change of the pictures when it is disturbed by half its
    /// deviation. Important channels are given a wider range than others, so that the noise a stream
    /// adds costs them less, and what is left of their importance is in the weights. Channels that are
    /// quiet but for rare bursts, as where something moves, get a range that holds the bursts: one
    /// value of fifty deviations would drown the others in its token's normalisation.
    static func measured(
        _ vae: [String: Tensor],
        _ config: WanVAEConfig,
        keepsNormalization: Bool = false,
        clips: any ClipSource,
        count: Int,
        size: Int,
        firstIndex: UInt64,
        seed: UInt64
    ) throws -> LatentStatistics {
        var plain = config
        plain.latentsMean = Array(repeating: 0, count: config.zDim)
        plain.latentsStd = Array(repeating: 1, count: config.zDim)
        let codec = try LatentCodec(vae, plain)
        return try withoutGradients {
            let latents = try concatenated(
                (0..<count).map { number in
                    let clip = try clips.clip(
                        index: firstIndex + UInt64(number),
                        frames: 2 * config.temporalStride + 1,
                        height: size,
                        width: size
                    )
                    return try codec.encode(clip.unsqueezed(0))
                }
            )  // [N, C, F, h, w]
            return try LatentStatistics(
                of: latents,
                importance: { std in
                    let samples = try latents.narrowed(0, 0, min(2, count))
                    return try importance(codec, samples, std, seed: seed)
                },
                normalization: keepsNormalization ? config : nil
            )
        }
    }

    /// The statistics of latents [N, C, F, h, w].
    ///
    /// - Parameters:
    ///   - importance: measures how much pictures change with each channel, of these deviations.
    ///   - normalization: whose mean and deviation are taken instead of measured ones.
    private init(
        of latents: Tensor,
        importance: ([Double]) throws -> [Double],
        normalization: WanVAEConfig?
    ) throws {
        let mean = try latents.mean([0, 2, 3, 4]).array(of: Double.self)
        var std = try latents.variance([0, 2, 3, 4]).squareRoot().array(of: Double.self)
        // A channel that is nearly dead would be blown up to the others' size.
        let least = 0.05 * (std.max() ?? 1)
        std = std.map { max($0, least) }
        let changes = try importance(std)
        let average = changes.reduce(0, +) / Double(changes.count)
        let relative = changes.map { $0 / average }
        let gains = relative.map { Self.spread * min(3, max(0.6, pow($0, 0.25))) }
        let bursts = try (latents - Tensor(mean, [1, mean.count, 1, 1, 1])).abs()
            .max([0, 2, 3, 4]).array(of: Double.self)
        let ranges =
            normalization?.latentsStd
            ?? std.indices.map { max(std[$0] / gains[$0], bursts[$0] / Self.largestNormalized) }
        // An error of 1 in a normalised channel is one of `range` in the latents.
        let weights = std.indices.map { pow(relative[$0], 0.75) * pow(ranges[$0] / std[$0], 2) }
        let averageWeight = weights.reduce(0, +) / Double(weights.count)
        self.mean = normalization?.latentsMean ?? mean
        self.std = ranges
        self.weights = weights.map { $0 / averageWeight }
    }

    /// The deviation of a normalised channel of middling importance. Above 1, so that the noise of a
    /// stream, which is meant for models that make things up, leaves a small model enough to see.
    private static let spread = 1.5
    /// What a normalised latent hardly ever exceeds.
    private static let largestNormalized = 9.0

    private static func importance(
        _ codec: LatentCodec,
        _ latents: Tensor,
        _ std: [Double],
        seed: UInt64
    ) throws(SwanError) -> [Double] {
        let generator = try Generator(seed: seed, purpose: .channelImportance)
        let undisturbed = try codec.decode(latents)
        var changes: [Double] = []
        for channel in std.indices {
            let disturbed = try latents.cloned()
            var place = try disturbed.narrowed(1, channel, 1)
            try place.add(Tensor.randn(place.shape, generator), scaledBy: 0.5 * std[channel])
            changes.append(try (codec.decode(disturbed) - undisturbed).pow(2).mean().item())
        }
        return changes
    }
}
