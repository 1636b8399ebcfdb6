public import SwanSystem
public import Torch

/// Identifies a set of a stream's random numbers.
public struct NoiseKey: Sendable, Hashable {
    /// The chunk's index in its stream; negative for the zeros that fill the stream batch at first.
    public let chunk: Int
    /// 0 for the noise mixed into the input, k for the noise added before denoising step k.
    public let step: Int

    /// Creates a key for one chunk at one step.
    public init(chunk: Int, step: Int) {
        self.chunk = chunk
        self.step = step
    }
}

/// The source of a stream's random numbers: returns standard normals of the given shape.
///
/// Equal keys yield equal numbers regardless of earlier calls, so a stream does not depend on which
/// thread, process or batch computes it.
public typealias NoiseSource =
    @Sendable (_ shape: [Int], _ key: NoiseKey) throws(SwanError) -> Tensor

/// Random numbers determined by seed, chunk and step.
struct StreamNoise: Sendable {
    let seed: UInt64
    let dtype: DType
    let device: Device

    func callAsFunction(_ shape: [Int], _ key: NoiseKey) throws(SwanError) -> Tensor {
        let mixed = Seed.mixed(
            seed,
            UInt64(bitPattern: Int64(key.chunk)),
            UInt64(bitPattern: Int64(key.step))
        )
        return try .randn(shape, Generator(seed: mixed, device: device), dtype, device)
    }
}
