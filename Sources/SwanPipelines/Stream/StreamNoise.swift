public import SwanSystem
public import Torch

/// Which of a stream's random numbers are meant.
public struct NoiseKey: Sendable, Hashable {
    /// The chunk's place in its stream, from 0; negative for the zeros that fill the stream batch at first.
    public let chunk: Int
    /// 0 for the noise that is mixed into the input, k for the noise that is added before the denoising step k.
    public let step: Int

    /// The numbers of one chunk at one step.
    public init(chunk: Int, step: Int) {
        self.chunk = chunk
        self.step = step
    }
}

/// Where a stream's random numbers come from: standard normals of the shape that is asked for.
///
/// Equal keys give equal numbers, whatever was asked for before, so that a stream does not depend on which
/// thread, process or batch computes it.
public typealias NoiseSource =
    @Sendable (_ shape: [Int], _ key: NoiseKey) throws(SwanError) -> Tensor

/// Random numbers by seed, chunk and step.
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
