package import SwanSystem
package import Torch

/// What random numbers of a recipe are drawn for: each purpose has its own.
///
/// The raw values enter the seeds. Another number for a purpose gives other weights.
package enum RandomPurpose: UInt64, Sendable {
    /// A clip of the training data.
    case clip = 0
    /// Where a clip of a latent pool begins.
    case pooledClip = 1
    /// The samples and the noise of a step of the transformer.
    case streamStep = 2
    /// Which clips of the autoencoder have a style, and which one.
    case autoencoderStyle = 3
    /// The noise on the autoencoder's latents.
    case autoencoderNoise = 4
    /// The disturbance by which latent channels are measured.
    case channelImportance = 5
    /// The prompts of a step of the text encoder.
    case textStep = 6
    /// The vectors that stand for styles.
    case styleVectors = 7
    /// The noise of a stream's sample sheet.
    case streamSheet = 8
}

extension SampleRandom {
    /// The numbers of sample `index` for a purpose.
    package init(seed: UInt64, index: UInt64, purpose: RandomPurpose) {
        self.init(seed: seed, index: index, purpose: purpose.rawValue)
    }
}

extension Generator {
    /// The numbers of a seed for a purpose, and for an index where it has several.
    package convenience init(
        seed: UInt64,
        purpose: RandomPurpose,
        index: UInt64? = nil
    ) throws(SwanError) {
        let mixed =
            if let index {
                Seed.mixed(seed, purpose.rawValue, index)
            } else {
                Seed.mixed(seed, purpose.rawValue)
            }
        try self.init(seed: mixed)
    }
}
