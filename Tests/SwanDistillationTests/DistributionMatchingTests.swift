import Foundation
import GoldenSupport
import SwanSystem
import SwanTraining
import Testing
import Torch
import TorchNN

@testable import SwanDistillation

/// Compares distribution matching with CausVid's own class, for the same networks and draws.
@Suite struct DistributionMatchingTests {
    @Test(arguments: [
        "distill_bidirectional", "distill_from_scratch", "distill_causal_v2v",
        "distill_causal_warp", "distill_causal_score",
    ])
    func generatorLoss(name: String) throws { _ = try generatorGradients(name) }

    /// Compares the generator's loss; returns the error of its gradients, relative to their norm.
    func generatorGradients(_ name: String) throws -> Double {
        let reference = try ReferenceDistillation(name)
        let golden = reference.golden
        let method = try reference.matching(
            GoldenDraws(seeds: [.generator: reference.seed + 1, .critic: reference.seed + 2])
        )
        let generator = try leaves(reference.weights("generator"))
        let networks = Networks(["generator": generator, "critic": try reference.weights("fake")])
        let found = try method.generatorLoss(reference.batch, BatchPlace(step: 0), networks)
        for (ours, theirs) in [
            ("clean_latent", "p"), ("noisy_latent", "noisy"), ("pred_real_image", "r"),
            ("pred_fake_image", "f"),
        ] {
            try expectClose(
                #require(found.latents["dmdtrain_\(ours)"]),
                reference.latents(golden.output(theirs)),
                relative: 1e-5,
                absolute: 1e-5,
                theirs
            )
        }
        let times: [Float] = try golden.output("score_timestep").to(.float32).array()
        #expect(found.timesteps.joined().map { Float($0) } == times)
        let loss = try #require(found.loss.parts["generator_loss"])
        try expectClose(loss, golden.output("generator_loss"), relative: 1e-6, absolute: 0)
        try expectClose(
            #require(found.loss.parts["dmdtrain_gradient_norm"]),
            golden.output("gradient_norm"),
            relative: 1e-5,
            absolute: 0
        )
        return try reference.expectGradients(
            of: found.loss.total,
            for: generator,
            like: "generator"
        )
    }

    @Test(arguments: [
        "distill_bidirectional", "distill_from_scratch", "distill_causal_v2v",
        "distill_causal_warp", "distill_causal_score",
    ])
    func criticLoss(name: String) throws { _ = try criticGradients(name) }

    /// Compares the critic's loss; returns the error of its gradients, relative to their norm.
    func criticGradients(_ name: String) throws -> Double {
        let reference = try ReferenceDistillation(name)
        let golden = reference.golden
        let method = try reference.matching(
            GoldenDraws(seeds: [.generator: reference.seed + 1, .critic: reference.seed + 2])
        )
        let critic = try leaves(reference.weights("fake"))
        let networks = Networks([
            "generator": try reference.weights("generator"), "critic": critic,
        ])
        let found = try method.criticLoss(reference.batch, BatchPlace(step: 0), networks)
        for (ours, theirs) in [
            ("latent", "critic_p"), ("noisy_latent", "critic_noisy"), ("pred_image", "k"),
        ] {
            try expectClose(
                #require(found.latents["critictrain_\(ours)"]),
                reference.latents(golden.output(theirs)),
                relative: 1e-5,
                absolute: 1e-5,
                theirs
            )
        }
        let loss = try found.loss.total.detached()
        try expectClose(loss, golden.output("critic_loss"), relative: 1e-6, absolute: 0)
        return try reference.expectGradients(of: found.loss.total, for: critic, like: "critic")
    }

    @Test func matchingGradient() throws {
        let reference = try ReferenceDistillation("distill_causal_warp")
        let golden = reference.golden
        let matching = try MatchingGradient(
            reference.latents(golden.output("p")),
            real: reference.latents(golden.output("r")),
            fake: reference.latents(golden.output("f"))
        )
        try expectClose(
            matching.normalizer.flattened(),
            golden.output("n"),
            relative: 1e-6,
            absolute: 0
        )
        try expectClose(
            matching.gradient,
            reference.latents(golden.output("g")),
            relative: 1e-6,
            absolute: 1e-6
        )
        try expectClose(
            matching.loss(),
            golden.output("generator_loss"),
            relative: 1e-6,
            absolute: 0
        )
    }

    /// Where prediction and score are the same, 0/0 must not reach the weights.
    @Test func replacesWhatIsNotFinite() throws {
        let x = try Tensor([Float.nan, .infinity, -.infinity, 2], [4])
        let largest = Float.greatestFiniteMagnitude
        #expect(try MatchingGradient.finite(x).array() == [0, largest, -largest, 2])
        let p = try Tensor.ones([1, 1, 1, 1, 2])
        #expect(
            try MatchingGradient(p, real: p, fake: p).gradient.array()
                == [Float](
                    repeating: 0,
                    count: 2
                )
        )
    }

    /// Eight steps of both optimizers, with the generator in every third.
    @Test(.timeLimit(.minutes(10))) func alternation() throws {
        let reference = try ReferenceDistillation("distill_alternation")
        let config = reference.config
        let method = RecordedMatching(
            try reference.matching(
                SequentialDraws(seed: reference.seed + 1),
                rate: #require(config.lr)
            )
        )
        let steps = try #require(config.updates)
        let start = [
            "generator": try reference.weights("generator"),
            "critic": try reference.weights("fake"),
        ]
        let end = try TrainingLoop("dmd", steps: steps, method: method).run(from: { start }) { _ in
        }
        for (role, updates) in [("generator", 3), ("critic", 8)] {
            let expected: [Double] = try reference.golden.output("\(role)_loss").array()
            let found = method.losses.values(role)
            #expect(found.count == updates && expected.count == updates)
            for (step, (a, b)) in zip(found, expected).enumerated() {
                #expect(abs(a - b) < 2e-5 * b, "\(role), update \(step): \(a), expected \(b)")
            }
            let network = try #require(end.networks[role])
            #expect(network.updates == updates)
            let after = try reference.golden.tensors(under: "after/\(role)")
            var (error, moved) = (0.0, 0.0)
            for (key, weight) in network.weights {
                let target = try #require(after[key])
                error += try (weight.detached() - target).pow(2).sum().item()
                moved += try (#require(start[role]?[key]) - target).pow(2).sum().item()
            }
            let relative = (error / moved).squareRoot()
            #expect(moved > 0 && relative < 1e-3, "\(role): \(relative) of the way")
        }
    }

    @Test func refusesLossesThatNeedADiffusionSchedule() throws {
        let reference = try ReferenceDistillation("distill_causal_v2v")
        let made = try reference.matching(SeededDraws(seed: 1))
        var options = made.options
        options.denoisingLoss = .noise
        let optimizer = ReferenceDistillation.optimizer(1e-3)
        let error = #expect(throws: SwanError.self) {
            _ = try DistributionMatching(
                options,
                made.parts,
                optimizers: (optimizer, optimizer),
                draws: SeededDraws(seed: 1)
            ) { _ in throw SwanError(.invalidData, "unused") }
        }
        #expect(error?.message.contains("use flow or x0") ?? false)
    }
}

/// Keeps the losses of every update, in order.
final class LossLog: @unchecked Sendable {
    // `lock` protects what follows.
    private let lock = NSLock()
    private var lists: [String: [Double]] = [:]

    func add(_ role: String, _ value: Double) {
        lock.withLock { lists[role, default: []].append(value) }
    }

    func values(_ role: String) -> [Double] { lock.withLock { lists[role] ?? [] } }
}

/// Distribution matching that keeps its losses.
struct RecordedMatching: Method {
    let method: DistributionMatching
    let losses = LossLog()

    init(_ method: DistributionMatching) { self.method = method }

    var roles: [Role] { method.roles }

    func batch(_ place: BatchPlace) throws -> DistributionMatching.Batch {
        try method.batch(place)
    }

    func updates(at step: Int) -> [Update<DistributionMatching.Batch>] {
        method.updates(at: step).map { update in
            Update(of: update.role) { batch, place, networks, carry in
                let loss = try update.loss(batch, place, networks, &carry)
                losses.add(update.role, try loss.parts["\(update.role)_loss"]?.item() ?? .nan)
                return loss
            }
        }
    }
}
