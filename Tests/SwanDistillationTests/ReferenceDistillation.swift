import Foundation
import GoldenSupport
import SwanModels
import SwanSystem
import SwanTraining
import Testing
import Torch
import TorchNN

@testable import SwanDistillation

/// Draws from torch's generator with the seeds that a golden was made with.
struct GoldenDraws: DrawSource {
    let seeds: [DistillationPass: UInt64]

    func generator(for pass: DistillationPass, _ place: BatchPlace) throws -> Generator {
        try Generator(seed: #require(seeds[pass]))
    }

    func shared(for pass: DistillationPass, step: Int) throws -> Generator {
        try Generator(seed: UInt64(step))
    }
}

/// Draws for one pass after the other from a single sequence.
struct SequentialDraws: DrawSource {
    private let shared: Generator

    init(seed: UInt64) throws { shared = try Generator(seed: seed) }

    func generator(for pass: DistillationPass, _ place: BatchPlace) throws -> Generator { shared }

    func shared(for pass: DistillationPass, step: Int) throws -> Generator { shared }
}

/// A golden of the reference's training classes, and the same with Swan's.
struct ReferenceDistillation {
    /// The configuration of a golden.
    struct Config: Decodable {
        let steps: [Int]
        var w: Double?
        var causal: Bool?
        var simulated: Bool?
        var block: Int?
        var warp: Bool?
        var shift: Double?
        var score: Bool?
        var ratio: Int?
        var lr: Double?
        var updates: Int?
        var shape: [Int]?
    }

    let golden: Golden
    let config: Config
    let seed: UInt64
    private let networks: Golden

    init(_ name: String) throws {
        golden = try Golden(name)
        config = try golden.config()
        seed = try #require(UInt64(golden.text("seed")))
        networks = try Golden("distill_networks")
    }

    var wan: WanConfig { get throws { try networks.config() } }

    func weights(_ role: String) throws -> [String: Tensor] {
        try networks.weights(named: "weights/\(role)")
    }

    var schedule: DistillationSchedule {
        get throws {
            try DistillationSchedule(
                list: config.steps,
                warped: config.warp ?? false,
                shift: 8,
                scoreShift: config.shift ?? 8
            )
        }
    }

    /// The shape of the latents, which the golden has as [B, F, C, H, W].
    var shape: LatentShape {
        let list = config.shape ?? [2, 6, 4, 4, 6]
        return LatentShape(
            rows: list[0],
            frames: list[1],
            channels: list[2],
            height: list[3],
            width: list[4]
        )
    }

    var view: NetworkForm.CausalView? {
        config.causal ?? true ? .init(framesPerBlock: config.block ?? 1) : nil
    }

    /// The tensor of an input or output in the references' order, [B, F, C, H, W].
    func latents(_ tensor: Tensor) throws -> Tensor { try tensor.permuted(0, 2, 1, 3, 4) }

    func matching(_ draws: any DrawSource, rate: Double = 1e-3) throws -> DistributionMatching {
        let (wan, schedule) = (try wan, try schedule)
        var options = MatchingOptions(
            schedule,
            task: view == nil ? .bidirectionalVideo : .causalVideo,
            shape: shape
        )
        if config.score != true {
            options.realTask = .bidirectionalVideo
            options.fakeTask = .bidirectionalVideo
        }
        options.framesPerBlock = config.block ?? 1
        options.realGuidance = try #require(config.w)
        options.isSimulated = config.simulated ?? false
        options.ratio = config.ratio ?? 5
        let parts = DistributionMatching.Parts(
            generator: NetworkForm(wan, causal: view),
            critic: NetworkForm(wan),
            real: try CleanPredictor(
                Weights(DictionaryWeights(weights("real"))),
                NetworkForm(wan),
                schedule.flow
            ),
            negative: try golden.input("negative").narrowed(0, 0, 1)
        )
        let optimizer = Self.optimizer(rate)
        let batch = try batch
        return try DistributionMatching(
            options,
            parts,
            optimizers: (optimizer, optimizer),
            draws: draws
        ) { _ in batch }
    }

    var batch: DistributionMatching.Batch {
        get throws {
            DistributionMatching.Batch(
                text: try golden.input("prompt"),
                latents: try latents(golden.input("latents"))
            )
        }
    }

    static func optimizer(_ rate: Double) -> OptimizerOptions {
        OptimizerOptions(
            learningRate: rate,
            warmUpSteps: 0,
            decayFrom: 1,
            finalRate: 1,
            betas: [0.9, 0.999],
            weightDecay: 0.01,
            maximumGradientNorm: 10,
            averageDecay: 0
        )
    }

    /// Expects gradients whose error is small compared with the norm of the gradient; returns how
    /// large it is.
    @discardableResult
    func expectGradients(
        of loss: Tensor,
        for weights: [String: Tensor],
        like role: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Double {
        let expected = try golden.tensors(under: "gradients/\(role)")
        #expect(Set(expected.keys) == Set(weights.keys), sourceLocation: sourceLocation)
        let keys = weights.keys.sorted()
        let found = try gradients(of: loss, for: keys.compactMap { weights[$0] })
        var (error, norm) = (0.0, 0.0)
        for (key, gradient) in zip(keys, found) {
            let target = try #require(expected[key]).to(.float64)
            let gradient = try #require(gradient, "\(key) has no gradient").to(.float64)
            error += try (gradient - target).pow(2).sum().item()
            norm += try target.pow(2).sum().item()
        }
        let relative = (error / norm).squareRoot()
        #expect(
            norm > 0 && relative < 1e-5,
            "\(role): \(relative) of \(norm.squareRoot())",
            sourceLocation: sourceLocation
        )
        return relative
    }
}

/// Weights as leaves that record gradients.
func leaves(_ weights: [String: Tensor]) throws -> [String: Tensor] {
    try weights.mapValues { weight in
        let leaf = try weight.cloned()
        try leaf.setRequiresGrad()
        return leaf
    }
}
