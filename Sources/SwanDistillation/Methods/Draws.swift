package import SwanSystem
package import SwanTraining
package import Torch

/// The sizes of a batch of latents.
package struct LatentShape: Sendable, Equatable {
    package var rows, frames, channels, height, width: Int

    /// Creates the shape; `rows` is the batch.
    package init(rows: Int, frames: Int, channels: Int, height: Int, width: Int) {
        self.rows = rows
        self.frames = frames
        self.channels = channels
        self.height = height
        self.width = width
    }

    /// The shape of latents [B, C, F, H, W].
    package init(of latents: Tensor) {
        self.init(
            rows: latents.size(0),
            frames: latents.size(2),
            channels: latents.size(1),
            height: latents.size(3),
            width: latents.size(4)
        )
    }

    /// [B, C, F, H, W], as networks have it.
    package var list: [Int] { [rows, channels, frames, height, width] }

    /// [B, F, C, H, W], as the references store and draw latents.
    package var framesFirst: [Int] { [rows, frames, channels, height, width] }
}

/// All random numbers of one pass: the generator's prediction, and the score that judges it.
///
/// They are a value, so that a test can give those of a reference.
package struct PassDraws: Sendable {
    /// Noise for each step of the generator's list, the first one first: [B, C, F, H, W].
    package let noises: [Tensor]
    /// The step of each row and frame, before the task type makes them equal.
    package let entries: [[Int]]
    /// The score's timestep of each row and frame, 0 to 999, before shift, limits and task type.
    package let numbers: [[Int]]
    /// The score's noise [B, C, F, H, W].
    package let scoreNoise: Tensor
    /// The random numbers of a video that is made block by block, in place of noises and entries.
    package private(set) var rollout: RolloutDraws?

    /// Creates draws from given numbers.
    package init(noises: [Tensor], entries: [[Int]], numbers: [[Int]], scoreNoise: Tensor) {
        self.noises = noises
        self.entries = entries
        self.numbers = numbers
        self.scoreNoise = scoreNoise
    }

    /// Draws from a generator in the reference's order (causvid/dmd.py): noise for all steps, the
    /// steps of frames, the timesteps and the noise of the score.
    package init(
        _ generator: Generator,
        _ shape: LatentShape,
        steps: Int
    ) throws(SwanError) {
        var noises: [Tensor] = []
        for _ in 0..<steps { noises.append(try Self.noise(generator, shape)) }
        self.init(
            noises: noises,
            entries: try Self.integers(generator, shape, below: steps),
            numbers: try Self.integers(
                generator,
                shape,
                below: DistillationSchedule.trainingTimesteps
            ),
            scoreNoise: try Self.noise(generator, shape)
        )
    }

    /// Draws for a video that the generator makes, then one timestep for each row's score.
    ///
    /// - Parameter range: The limits of the score's number.
    package init(
        _ rollout: RolloutDraws,
        _ generator: Generator,
        _ shape: LatentShape,
        numbersIn range: Range<Int>
    ) throws(SwanError) {
        let drawn = try Tensor.randint(range, [shape.rows, 1], generator).array(of: Int.self)
        self.init(
            noises: [],
            entries: [],
            numbers: drawn.map { Array(repeating: $0, count: shape.frames) },
            scoreNoise: try Self.noise(generator, shape)
        )
        self.rollout = rollout
    }

    /// Normal noise [B, C, F, H, W], drawn frame by frame.
    package static func noise(
        _ generator: Generator,
        _ shape: LatentShape
    ) throws(SwanError) -> Tensor {
        try Tensor.randn(shape.framesFirst, generator).permuted(0, 2, 1, 3, 4).contiguous()
    }

    /// An integer for each row and frame.
    package static func integers(
        _ generator: Generator,
        _ shape: LatentShape,
        below limit: Int
    ) throws(SwanError) -> [[Int]] {
        let drawn = try Tensor.randint(0..<limit, [shape.rows, shape.frames], generator)
        let list = try drawn.array(of: Int.self)
        return (0..<shape.rows).map { Array(list[$0 * shape.frames..<($0 + 1) * shape.frames]) }
    }
}

/// What a pass draws for.
package enum DistillationPass: UInt64, Sendable {
    case generator = 1, critic, regression, heldOut
}

/// Where the random numbers of passes come from.
package protocol DrawSource: Sendable {
    /// The random numbers of a pass for the micro-batch at a place.
    func generator(for pass: DistillationPass, _ place: BatchPlace) throws -> Generator

    /// The random numbers that all micro-batches of a step share in a pass.
    func shared(for pass: DistillationPass, step: Int) throws -> Generator
}

/// Numbers that depend on the seed and the place alone, so that a resumed run draws the same.
package struct SeededDraws: DrawSource {
    private let seed: UInt64

    /// Creates the source of a run's seed.
    package init(seed: UInt64) { self.seed = seed }

    package func generator(
        for pass: DistillationPass,
        _ place: BatchPlace
    ) throws(SwanError) -> Generator {
        try Generator(seed: Seed.mixed(seed, pass.rawValue, UInt64(place.number)))
    }

    package func shared(
        for pass: DistillationPass,
        step: Int
    ) throws(SwanError) -> Generator {
        try Generator(seed: Seed.mixed(seed, pass.rawValue + 100, UInt64(step)))
    }
}
