import SwanSystem
import SwanTraining
import Torch

/// What a recipe's random numbers are used for. Each purpose has an independent sequence.
///
/// The raw values are part of the seeds: changing one changes the trained weights.
enum RandomPurpose: UInt64, Sendable {
    /// A clip of the training data.
    case clip = 0
    /// The start of a clip in a latent pool.
    case pooledClip = 1
    /// The samples and the noise of a transformer training step.
    case streamStep = 2
    /// Which of the autoencoder's clips are styled, and how.
    case autoencoderStyle = 3
    /// The noise on the autoencoder's latents.
    case autoencoderNoise = 4
    /// The perturbation that measures the importance of latent channels.
    case channelImportance = 5
    /// The prompts of a text encoder training step.
    case textStep = 6
    /// The target vectors of the styles.
    case styleVectors = 7
    /// The noise for a stream's sample sheet.
    case streamSheet = 8
    /// A drawn scene to train on.
    case scene = 9
    /// A drawn scene that is kept from training.
    case heldOutScene = 10
    /// What a prompt says of a scene, and how.
    case scenePrompt = 11
    /// The noise and timesteps of a text-to-video step.
    case flowStep = 12
    /// The noise that held-out videos start from.
    case heldOutNoise = 13
}

extension SampleRandom {
    /// Creates the generator of sample `index` for a purpose.
    init(seed: UInt64, index: UInt64, purpose: RandomPurpose) {
        self.init(seed: seed, index: index, purpose: purpose.rawValue)
    }
}

extension Generator {
    /// Creates the generator of a seed for a purpose, and for an index if the purpose has several.
    convenience init(
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
