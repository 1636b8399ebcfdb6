import SwanCheckpoints
import SwanSystem
import Torch

/// Identifies a set of a stream's random numbers.
package struct NoiseKey: Sendable, Hashable {
    /// The chunk's index in its stream; negative for the zeros that fill the stream batch at first.
    package let chunk: Int
    /// 0 for the noise mixed into the input, k for the noise added before denoising step k.
    package let step: Int

    /// Creates a key for one chunk at one step.
    package init(chunk: Int, step: Int) {
        self.chunk = chunk
        self.step = step
    }
}

/// Random numbers determined by seed, chunk and step.
struct StreamNoise: Sendable {
    let seed: UInt64
    var kind = StreamConfiguration.Noise.fresh
    let dtype: DType
    let device: Device

    func callAsFunction(_ shape: [Int], _ key: NoiseKey) throws(SwanError) -> Tensor {
        guard kind != .none else { return try .zeros(shape, dtype, device) }
        let chunk = kind == .fixed ? 0 : key.chunk
        let mixed = Seed.mixed(
            seed,
            UInt64(bitPattern: Int64(chunk)),
            UInt64(bitPattern: Int64(key.step))
        )
        return try .randn(shape, Generator(seed: mixed, device: device), dtype, device)
    }
}
