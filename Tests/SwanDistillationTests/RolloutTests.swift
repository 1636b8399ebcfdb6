import GoldenSupport
import SwanModels
import SwanSchedulers
import SwanSystem
import SwanTraining
import Testing
import Torch
import TorchNN

@testable import SwanDistillation

/// Compares videos that are made block by block in training with those of a stream.
@Suite struct RolloutTests {
    private let reference: ReferenceDistillation
    private let schedule: DistillationSchedule
    private let shape = LatentShape(rows: 1, frames: 8, channels: 4, height: 4, width: 6)

    init() throws {
        reference = try ReferenceDistillation("distill_causal_warp")
        schedule = try DistillationSchedule(
            list: [1000, 700, 300],
            warped: true,
            shift: 5,
            scoreShift: 5
        )
    }

    private func draws(
        _ options: RolloutOptions = RolloutOptions(),
        block: Int = 2
    ) throws -> RolloutDraws {
        try RolloutDraws(
            Generator(seed: 4),
            exits: Generator(seed: 9),
            shape,
            framesPerBlock: block,
            steps: 3,
            options
        )
    }

    private func text() throws -> Tensor { try reference.golden.input("prompt").narrowed(0, 1, 1) }

    private func rollout(
        _ weights: [String: Tensor],
        _ view: NetworkForm.CausalView,
        recomputing: Bool = false,
        _ options: RolloutOptions = RolloutOptions()
    ) throws -> Rollout {
        let form = NetworkForm(try reference.wan, causal: view, isRecomputed: recomputing)
        let predictor = try CleanPredictor(Weights(leaves: weights), form, schedule.flow)
        return Rollout(
            predictor: predictor,
            text: try predictor.text(text()),
            schedule: schedule,
            options: options
        )
    }

    /// Every block, step by step, with the blocks before as clean frames at timestep 0: through the
    /// training form, and, without a window, through the cache of a stream.
    @Test(
        arguments: [
            (2, nil, 0), (1, nil, 0), (2, 6, 2), (1, 4, 2), (2, 4, 0),
        ] as [(Int, Int?, Int)]
    )
    func equalsOtherForms(block: Int, window: Int?, sinks: Int) throws {
        let weights = try reference.weights("generator")
        let draws = try draws(block: block)
        #expect(Set(draws.exits).count > 1)
        let view = NetworkForm.CausalView(framesPerBlock: block, window: window, sinks: sinks)
        let video = try withoutGradients { try rollout(weights, view)(draws, on: .cpu) }
        let model = try CausalWanTransformer(Weights(leaves: weights), reference.wan)
        try inference {
            let text = try model.text(text())
            var cache = try KVCachePool(reference.wan, rows: 1, frames: 10, tokensPerFrame: 6)
            let rows = try cache.acquireRows(
                1,
                options: KVCacheOptions(frames: 10, sinkFrames: 0)
            )
            for index in draws.exits.indices {
                let first = index * block
                let whole = try predictedBlock(draws, index, block) { x, timestep in
                    let frames = try concatenated([video.narrowed(2, 0, first), x], dim: 2)
                    let times = (0..<first + block).map { Float($0 < first ? 0 : timestep) }
                    return try model(
                        frames,
                        timesteps: Tensor(times, [1, times.count]),
                        text: text,
                        framesPerBlock: block,
                        window: window,
                        sinks: sinks
                    ).narrowed(2, first, block)
                }
                let found = try video.narrowed(2, first, block)
                try expectClose(found, whole, relative: 1e-4, absolute: 5e-5, "block \(index)")
                guard window == nil else { continue }
                func streamed(_ x: Tensor, _ timestep: Double) throws -> Tensor {
                    try model(
                        x,
                        timesteps: [timestep],
                        text: text,
                        firstFrames: [first],
                        cache: &cache,
                        rows: rows
                    )
                }
                let stream = try predictedBlock(draws, index, block, streamed)
                try expectClose(found, stream, relative: 1e-4, absolute: 5e-5, "block \(index)")
                _ = try streamed(stream, 0)
            }
        }
    }

    /// A block's prediction at its last step, with the flow of `flow`.
    private func predictedBlock(
        _ draws: RolloutDraws,
        _ index: Int,
        _ block: Int,
        _ flow: (Tensor, Double) throws -> Tensor
    ) throws -> Tensor {
        var x = try draws.noise.narrowed(2, index * block, block)
        var clean = x
        for step in 0...draws.exits[index] {
            let timestep = schedule.steps[step]
            clean = try schedule.flow.clean(fromFlow: flow(x, timestep), x, at: .all(timestep))
            guard step < draws.exits[index] else { break }
            let next = schedule.steps[step + 1]
            x = try schedule.flow.addNoise(clean, draws.between[index][step], at: .all(next))
        }
        return clean
    }

    /// Gradients go through the last step of each block alone: they are the slope of a loss in which
    /// the past is given numbers, which do not move with the weights.
    @Test func gradientsTakeThePastAsConstant() throws {
        let one = try ConstantPast(reference, shape, text())
        let own = try leaves(reference.weights("generator"))
        let network = try one.predictor(own)
        let rollout = Rollout(
            predictor: network,
            text: try network.text(text()),
            schedule: one.schedule,
            options: RolloutOptions()
        )
        let keys = own.keys.sorted()
        let video = try rollout(one.draws, on: .cpu)
        let found = try gradients(
            of: (video * one.target).sum(),
            for: keys.compactMap { own[$0] }
        )
        var square = 0.0
        for gradient in found {
            if let gradient { square += try gradient.to(.float64).pow(2).sum().item() }
        }
        /// The loss of weights that moved along the gradient.
        func loss(_ step: Double) throws -> Double {
            var moved = try own.mapValues { try $0.detached() }
            for (key, gradient) in zip(keys, found) {
                guard let gradient, let weight = moved[key] else { continue }
                moved[key] = try weight + gradient * step
            }
            return try one.loss(moved, video.detached())
        }
        let step = 1e-2 / square.squareRoot()
        let slope = try (loss(step) - loss(-step)) / (2 * step)
        #expect(abs(slope - square) < 3e-3 * square, "\(slope), expected \(square)")
    }

    /// Two blocks of one step, with the keys of the first from weights that do not move.
    private struct ConstantPast {
        let schedule: DistillationSchedule
        let draws: RolloutDraws
        let target: Tensor
        private let form: NetworkForm
        private let words: Tensor
        private let fixed: [String: Tensor]
        private let frames = 4

        init(_ reference: ReferenceDistillation, _ shape: LatentShape, _ text: Tensor) throws {
            schedule = try DistillationSchedule(
                list: [800],
                warped: false,
                shift: 5,
                scoreShift: 5
            )
            draws = try RolloutDraws(
                Generator(seed: 4),
                exits: Generator(seed: 9),
                shape,
                framesPerBlock: frames,
                steps: 1,
                RolloutOptions()
            )
            target = try Tensor.randn(shape.list, Generator(seed: 8))
            form = NetworkForm(try reference.wan, causal: .init(framesPerBlock: frames))
            words = text
            fixed = try reference.weights("generator")
        }

        func predictor(_ weights: [String: Tensor]) throws -> CleanPredictor {
            try CleanPredictor(Weights(leaves: weights), form, schedule.flow)
        }

        /// The sum of products of the target and the predictions of `moved`, with the past of `video`
        /// as the first weights see it.
        func loss(_ moved: [String: Tensor], _ video: Tensor) throws -> Double {
            try withoutGradients {
                let (network, fixed) = (try predictor(moved), try predictor(fixed))
                var past = try fixed.past(of: draws.noise)
                var sum = 0.0
                for index in 0..<2 {
                    let (first, text) = (index * frames, try network.text(words))
                    let noise = try draws.noise.narrowed(2, first, frames)
                    let clean = try network.block(index, noise, timestep: 800, text, past)
                    let product = try clean * target.narrowed(2, first, frames)
                    sum += try product.to(.float64).sum().item()
                    let seen = try video.narrowed(2, first, frames)
                    try fixed.keep(index, seen, timestep: 0, fixed.text(words), in: &past)
                }
                return sum
            }
        }
    }

    /// Blocks that are computed again in the backward pass have the same gradients.
    @Test func recomputedBlocksHaveTheSameGradients() throws {
        let view = NetworkForm.CausalView(framesPerBlock: 2)
        let target = try Tensor.randn(shape.list, Generator(seed: 8))
        let own = try leaves(reference.weights("generator"))
        let keys = own.keys.sorted()
        let lists = try [false, true].map { recomputing in
            let video = try rollout(own, view, recomputing: recomputing)(draws(), on: .cpu)
            return try gradients(
                of: (video * target).sum(),
                for: keys.compactMap { own[$0] }
            )
        }
        for (key, (a, b)) in zip(keys, zip(lists[0], lists[1])) {
            try expectClose(#require(a), #require(b), relative: 1e-6, absolute: 1e-6, key)
        }
    }

    @Test func scoresAreLimitedByTheStep() throws {
        var options = RolloutOptions()
        options.sharesStep = true
        #expect(try Set(draws(options).exits).count == 1)
        options.sharesStep = false
        options.lastStepOnly = true
        #expect(try Set(draws(options).exits) == [2])
    }

    /// The mean of (r - f) ((r - p) - (r - f)) / n at given numbers.
    @Test func scoreIdentity() throws {
        let (p, r, f) = (
            try Tensor([Float(1), 2], [1, 1, 1, 1, 2]),
            try Tensor([Float(3), 1], [1, 1, 1, 1, 2]),
            try Tensor([Float(2), 4], [1, 1, 1, 1, 2])
        )
        // n = (2 + 1) / 2; terms 1 (2 - 1) and -3 (-1 + 3).
        let loss = try ScoreIdentity.loss(p, real: r, fake: f, alpha: 1)
        #expect(abs(try loss.item() - (1.0 - 6) / 2 / 1.5) < 1e-6)
    }
}
