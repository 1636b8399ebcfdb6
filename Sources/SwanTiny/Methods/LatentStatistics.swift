import Foundation
import SwanModels
import SwanSystem
import SwanTraining
import Torch
import TorchNN

/// The statistics of an autoencoder's latents, needed to train a transformer on them.
struct LatentStatistics {
    /// The offset subtracted from each channel, and the scale it is then divided by.
    let mean, std: [Double]
    /// The loss weight of each normalized channel, 1 on average.
    let weights: [Double]

    /// The clips that statistics are measured over.
    struct Clips {
        let source: any ClipSource
        let count: Int
        /// The height and width in pixels.
        let size: Int
        /// The index of the first clip.
        let firstIndex: UInt64
    }

    /// Measures the statistics over clips.
    ///
    /// The importance of a channel is the change of the images when it is perturbed by half its
    /// standard deviation. Important channels get a wider range than others, so that the noise a
    /// stream adds affects them less; the rest of their importance goes into the weights. Channels
    /// that are quiet except for rare bursts, such as those that respond to motion, get a range
    /// that fits the bursts: one value of fifty standard deviations would drown out the others in
    /// its token's normalization.
    ///
    /// - Parameter keepsNormalization: Uses the mean and standard deviation of the config and
    ///   measures only the weights.
    static func measured(
        _ vae: [String: Tensor],
        _ config: WanVAEConfig,
        keepsNormalization: Bool = false,
        over clips: Clips,
        seed: UInt64
    ) throws -> LatentStatistics {
        var plain = config
        plain.latentsMean = Array(repeating: 0, count: config.zDim)
        plain.latentsStd = Array(repeating: 1, count: config.zDim)
        let codec = try LatentCodec(vae, plain)
        return try withoutGradients {
            let latents = try concatenated(
                (0..<clips.count).map { number in
                    let clip = try clips.source.clip(
                        index: clips.firstIndex + UInt64(number),
                        frames: 2 * config.temporalStride + 1,
                        height: clips.size,
                        width: clips.size
                    )
                    return try codec.encode(clip.unsqueezed(0))
                }
            )  // [N, C, F, h, w]
            return try LatentStatistics(
                of: latents,
                importance: { std in
                    let samples = try latents.narrowed(0, 0, min(2, clips.count))
                    return try importance(codec, samples, std, seed: seed)
                },
                normalization: keepsNormalization ? config : nil
            )
        }
    }

    /// Computes the statistics of latents [N, C, F, h, w].
    ///
    /// - Parameters:
    ///   - importance: Measures how much images change with each channel, given these standard
    ///     deviations.
    ///   - normalization: The mean and standard deviation to use instead of measured ones.
    private init(
        of latents: Tensor,
        importance: ([Double]) throws -> [Double],
        normalization: WanVAEConfig?
    ) throws {
        let mean = try latents.mean([0, 2, 3, 4]).array(of: Double.self)
        var std = try latents.variance([0, 2, 3, 4]).squareRoot().array(of: Double.self)
        // A nearly dead channel would otherwise be amplified to the scale of the others.
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
        // An error of 1 in a normalized channel is an error of `range` in the latents.
        let weights = std.indices.map { pow(relative[$0], 0.75) * pow(ranges[$0] / std[$0], 2) }
        let averageWeight = weights.reduce(0, +) / Double(weights.count)
        self.mean = normalization?.latentsMean ?? mean
        self.std = ranges
        self.weights = weights.map { $0 / averageWeight }
    }

    /// The standard deviation of a normalized channel of average importance. Above 1, because the
    /// noise of a stream is meant for models that invent content and would hide too much from a
    /// small model.
    static let spread = 1.5
    /// A bound that normalized latents rarely exceed.
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
