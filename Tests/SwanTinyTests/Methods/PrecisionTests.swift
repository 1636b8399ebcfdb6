import Foundation
import GoldenSupport
import Testing
import Torch
import TorchNN

@testable import SwanTiny
@testable import SwanTraining
import SwanSystem

/// Mixed precision and gradient checkpointing.
@Suite(.serialized) struct PrecisionTests {
    /// Training steps on one batch, as in the training loop.
    private struct Steps {
        var network: TrainedNetwork
        /// The named part of the loss for each step.
        var losses: [Double] = []

        init(
            _ method: some Method,
            _ start: [String: Tensor],
            _ options: OptimizerOptions,
            of part: String,
            count: Int
        ) throws {
            network = try TrainedNetwork(start)
            let place = BatchPlace(step: 0)
            let batch = try method.batch(place)
            let update = try #require(method.updates(at: 0).first)
            for step in 0..<count {
                var carry: [String: Tensor] = [:]
                let networks = Networks([update.role: network.weights])
                let loss = try update.loss(batch, place, networks, &carry)
                #expect(loss.total.dtype == .float32)
                try network.applyUpdate(loss, step: step, of: count, options) { found in
                    #expect(found.allSatisfy { $0.dtype == .float32 })
                }
                losses.append(try #require(loss.parts[part]).item())
            }
        }
    }

    private func stream(
        _ change: (inout StreamTrainingOptions) -> Void,
        count: Int
    ) throws -> Steps {
        var recipe = try TinyRecipe.make()
        change(&recipe.transformer.training)
        recipe.transformer.optimizer.warmUpSteps = 1
        let clips = try ClipMix(recipe.data, seed: recipe.seed)
        let vae = try TinyRecipe.linearCode.get()
        return try Steps(
            TinyRecipe.streamMethod(recipe, clips: clips, vae: vae),
            TinyRecipe.initialTransformer(recipe),
            recipe.transformer.optimizer,
            of: "first_step",
            count: count
        )
    }

    private func autoencoder(_ change: (inout VAEOptions) -> Void, count: Int) throws -> Steps {
        var recipe = try TinyRecipe.make()
        recipe.vae.training.frames = [5]
        change(&recipe.vae.training)
        let clips = try ClipMix(recipe.data, seed: recipe.seed)
        return try Steps(
            AutoencoderMethod(
                config: recipe.vae.model,
                options: recipe.vae.training,
                optimizer: recipe.vae.optimizer,
                clips: clips,
                styles: [],
                seed: 1
            ),
            TinyRecipe.linearCode.get(),
            recipe.vae.optimizer,
            of: "squared_error",
            count: count
        )
    }

    private func expectNear(_ half: Steps, _ full: Steps) throws {
        // Equal first losses would mean that everything was computed in float32.
        #expect(half.losses[0] != full.losses[0])
        for (a, b) in zip(half.losses, full.losses) { #expect(abs(a - b) < 0.2 * b, "\(a), \(b)") }
        let (start, end) = (full.losses[0], try #require(full.losses.last))
        #expect(end < 0.8 * start, "\(full.losses)")
        #expect(abs(try #require(half.losses.last) - end) < 0.05 * end)
    }

    @Test func transformersLearnInHalfPrecision() throws {
        try expectNear(stream({ $0.precision = .bfloat16 }, count: 30), stream({ _ in }, count: 30))
    }

    @Test func autoencodersLearnInHalfPrecision() throws {
        try expectNear(
            autoencoder({ $0.precision = .bfloat16 }, count: 20),
            autoencoder({ _ in }, count: 20)
        )
    }

    @Test func checkpointsAreInFullPrecision() throws {
        let folder = try TemporaryDirectory()
        let steps = try stream({ $0.precision = .bfloat16 }, count: 2)
        let checkpoints = try Checkpoints(folder: folder.url, stage: "transformer", kept: 1)
        try checkpoints.save(
            TrainingState(step: 2, [StreamMethod.trainedRole: steps.network]),
            [],
            metadata: [:]
        )
        let file = try SafetensorsFile(
            path: folder.path("transformer/step-00000002.safetensors")
        )
        #expect(!file.keys.isEmpty)
        #expect(file.keys.allSatisfy { file.entry($0)?.dtype == .float32 })
        // The values use the full precision: bfloat16 cannot represent all of them.
        let rounded = try steps.network.parameters.map {
            try $0.detached().to(.bfloat16).to(.float32)
        }
        let differ = try zip(steps.network.parameters, rounded).contains {
            try $0.detached().array(of: Float.self) != $1.array(of: Float.self)
        }
        #expect(differ)
    }

    @Test func gradientCheckpointingIsExact() throws {
        let streams = try [false, true].map { isOn in
            try stream({ $0.gradientCheckpointing = isOn }, count: 2)
        }
        let autoencoders = try [false, true].map { isOn in
            try autoencoder({ $0.gradientCheckpointing = isOn }, count: 2)
        }
        for runs in [streams, autoencoders] {
            #expect(runs[0].losses == runs[1].losses)
            for (a, b) in zip(runs[0].network.parameters, runs[1].network.parameters) {
                #expect(
                    try a.detached().array(of: Float.self) == b.detached().array(of: Float.self)
                )
            }
        }
    }

    @Test func readsBothFromTheRecipe() throws {
        let text = TinyRecipe.text
            .replacing(
                "latent_noise: 0.02",
                with: "latent_noise: 0.02, precision: bfloat16, gradient_checkpointing: true"
            )
        let training = try Recipe(yaml: text).vae.training
        #expect(training.precision == .bfloat16 && training.gradientCheckpointing == true)
        let error = #expect(throws: SwanError.self) {
            try Recipe(yaml: text.replacing("bfloat16", with: "float8"))
        }
        #expect(error?.message.contains("vae.training.precision") == true)
    }
}
