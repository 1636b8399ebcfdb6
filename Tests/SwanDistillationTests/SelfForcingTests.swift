import Foundation
import GoldenSupport
import SwanSystem
import SwanTraining
import Testing
import Torch
import TorchNN

@testable import SwanDistillation

/// Compares videos made block by block, and their losses, with Self-Forcing's own classes for the
/// same networks and draws.
@Suite struct SelfForcingTests {
    /// One sequence of draws for each pass, as the reference has it.
    private final class PassSequences: DrawSource, @unchecked Sendable {
        private let seeds: [DistillationPass: UInt64]
        // `lock` protects `made`.
        private let lock = NSLock()
        private var made: [DistillationPass: Generator] = [:]

        init(_ seeds: [DistillationPass: UInt64]) { self.seeds = seeds }

        func generator(for pass: DistillationPass, _ place: BatchPlace) throws -> Generator {
            let generator = try Generator(seed: #require(seeds[pass]))
            lock.withLock { made[pass] = generator }
            return generator
        }

        func shared(for pass: DistillationPass, step: Int) throws -> Generator {
            try #require(lock.withLock { made[pass] })
        }
    }

    private struct Config: Decodable {
        let steps: [Int]
        let warp: Bool
        let block: Int
        let w: Double
        let same: Bool
        var wf, sid: Double?
        var ts, tsMax, last: Bool?
        var frames, context: Int?

        private enum CodingKeys: String, CodingKey {
            case steps, warp, block, w, same, wf, sid, ts, tsMax = "ts_max", last, frames, context
        }
    }

    private func method(_ reference: ReferenceDistillation) throws -> DistributionMatching {
        let config: Config = try reference.golden.config()
        let (wan, golden) = (try reference.wan, reference.golden)
        let schedule = try DistillationSchedule(
            list: config.steps,
            warped: config.warp,
            shift: 5,
            scoreShift: 5
        )
        var options = MatchingOptions(
            schedule,
            task: .causalVideo,
            shape: reference.shape
        )
        (options.realTask, options.fakeTask) = (.bidirectionalVideo, .bidirectionalVideo)
        options.framesPerBlock = config.block
        (options.realGuidance, options.fakeGuidance) = (config.w, config.wf ?? 0)
        options.isSimulated = true
        if let alpha = config.sid { options.generatorLoss = .scoreIdentity(alpha: alpha) }
        var rollout = RolloutOptions()
        (rollout.sharesStep, rollout.lastStepOnly) = (config.same, config.last ?? false)
        rollout.contextNoise = Double(config.context ?? 0)
        (rollout.limitsScores, rollout.limitsScoresAbove) = (
            config.ts ?? false, config.tsMax ?? false
        )
        rollout.mostFrames = config.frames
        rollout.isParity = true
        options.rollout = rollout
        var parts = DistributionMatching.Parts(
            generator: NetworkForm(wan, causal: .init(framesPerBlock: config.block)),
            critic: NetworkForm(wan),
            real: try CleanPredictor(
                Weights(DictionaryWeights(reference.weights("real"))),
                NetworkForm(wan),
                schedule.flow
            ),
            negative: try golden.input("negative")
        )
        let (decoder, encoder) = (try golden.input("decoder"), try golden.input("encoder"))
        parts.firstFrame = { latents in
            // The golden's stand-in for an autoencoder; pixels are [B, 3, F, H, W].
            let mixed = try latents + latents.cumulativeSum(2) * 0.1
            let last = try mixed.narrowed(2, mixed.size(2) - 1, 1)
            func mix(_ matrix: Tensor, _ x: Tensor) throws -> Tensor {
                try matmul(matrix, x.flattened(from: 2))
                    .reshaped([x.size(0), matrix.size(0)] + x.shape.dropFirst(2))
            }
            return try mix(encoder, mix(decoder, last).tanh())
        }
        let seed = reference.seed
        let batch = try self.batch(reference)
        let optimizer = ReferenceDistillation.optimizer(1e-3)
        return try DistributionMatching(
            options,
            parts,
            optimizers: (optimizer, optimizer),
            draws: PassSequences([.generator: seed + 1, .critic: seed + 2])
        ) { _ in batch }
    }

    private func batch(_ reference: ReferenceDistillation) throws -> DistributionMatching.Batch {
        DistributionMatching.Batch(text: try reference.golden.input("prompt"), latents: nil)
    }

    @Test(arguments: ["dmd", "long", "free", "last", "sid"])
    func losses(name: String) throws { _ = try errors("self_forcing_\(name)") }

    /// Compares both losses of a golden; returns the errors of their gradients, relative to their
    /// norms.
    func errors(_ name: String) throws -> (generator: Double, critic: Double) {
        let reference = try ReferenceDistillation(name)
        let golden = reference.golden
        let method = try method(reference)
        let generator = try leaves(reference.weights("generator"))
        let batch = try batch(reference)
        let found = try method.generatorLoss(
            batch,
            BatchPlace(step: 0),
            Networks(["generator": generator, "critic": reference.weights("fake")])
        )
        try expectClose(
            #require(found.latents["dmdtrain_clean_latent"]),
            reference.latents(golden.output("p")),
            relative: 1e-4,
            absolute: 5e-5,
            "p"
        )
        let times: [Float] = try golden.output("score_timestep").to(.float32).array()
        #expect(found.timesteps.joined().map { Float($0) } == times)
        let loss = try #require(found.loss.parts["generator_loss"])
        try expectClose(loss, golden.output("generator_loss"), relative: 5e-6, absolute: 0)
        let error = try reference.expectGradients(
            of: found.loss.total,
            for: generator,
            like: "generator"
        )

        let critic = try leaves(reference.weights("fake"))
        let denoised = try method.criticLoss(
            batch,
            BatchPlace(step: 0),
            Networks(["generator": reference.weights("generator"), "critic": critic])
        )
        try expectClose(
            #require(denoised.latents["critictrain_latent"]),
            reference.latents(golden.output("critic_p")),
            relative: 1e-4,
            absolute: 5e-5,
            "critic's p"
        )
        let total = try denoised.loss.total.detached()
        try expectClose(total, golden.output("critic_loss"), relative: 5e-6, absolute: 0)
        return (
            error,
            try reference.expectGradients(of: denoised.loss.total, for: critic, like: "critic")
        )
    }

    /// Some of the videos are longer than what scores see: the first block has no gradient.
    @Test func longVideosAreAmongThem() throws {
        for name in ["long", "last"] {
            let golden = try Golden("self_forcing_\(name)")
            #expect(try golden.output("frames").item() > 21, "\(name)")
        }
    }

    @Test func needsAnAutoencoderForLongVideos() throws {
        let reference = try ReferenceDistillation("self_forcing_long")
        let made = try method(reference)
        var parts = made.parts
        parts.firstFrame = nil
        let optimizer = ReferenceDistillation.optimizer(1e-3)
        let error = #expect(throws: SwanError.self) {
            _ = try DistributionMatching(
                made.options,
                parts,
                optimizers: (optimizer, optimizer),
                draws: SeededDraws(seed: 1)
            ) { _ in try batch(reference) }
        }
        #expect(error?.message.contains("num_training_frames") ?? false)
    }

    /// One sequence of batches for both networks, the generator's before the critic's, without gaps.
    @Test(arguments: [1, 2, 5], [1, 3])
    func batchesFollowEachOther(ratio: Int, parts: Int) {
        let numbers = BatchNumbers(ratio: ratio, areSeparate: true)
        var used: [Int] = []
        for step in 0..<11 {
            var places = [numbers.critic(BatchPlace(step: step, part: 0, of: parts))]
            if step.isMultiple(of: ratio) {
                let own = numbers.generator(BatchPlace(step: step, part: 0, of: parts))
                #expect(own != nil)
                places = [own].compactMap(\.self) + places
            } else {
                #expect(numbers.generator(BatchPlace(step: step, part: 0, of: parts)) == nil)
            }
            used += places.map(\.number)
        }
        #expect(used == used.indices.map { $0 * parts })
        let shared = BatchNumbers(ratio: ratio, areSeparate: false)
        #expect(shared.critic(BatchPlace(step: 4, part: 0, of: parts)).step == 4)
        #expect(shared.generator(BatchPlace(step: 0, part: 0, of: parts)) == nil)
    }
}
