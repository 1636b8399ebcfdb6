import SwanSystem
import SwanTraining
import Torch

/// The clips of drawn scenes, for measuring an autoencoder on them.
struct SceneClips: ClipSource {
    let seed: UInt64

    func clip(index: UInt64, frames: Int, height: Int, width: Int) throws -> Tensor {
        try SceneSampler(frames: frames, seed: seed).scene(index).clip(size: height)
    }
}
