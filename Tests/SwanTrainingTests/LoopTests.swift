import Foundation
import GoldenSupport
import SwanCheckpoints
import SwanModels
import SwanText
import Testing
import Torch
import TorchNN

@testable import SwanTiny
@testable import SwanTraining
import SwanSystem

@Suite("Training", .serialized)
struct LoopTests {
    @Test func resumeIsExact() throws {
        let recipe = try TinyRecipe.make()
        let clips = try ClipMix(recipe.data, seed: recipe.seed)
        ComputeBudget(threads: recipe.threads).apply()
        let start = try TinyRecipe.linearCode.get()
        let method = AutoencoderMethod(recipe, clips)
        try expectExactResume({ method }, [method.trainedRole: start], Pauses(steps: 6))
    }

    @Test(arguments: [false, true])
    func transformerResumeIsExact(muon: Bool) throws {
        var recipe = try TinyRecipe.make()
        recipe.transformer.optimizer.muon = muon
        let clips = try ClipMix(recipe.data, seed: recipe.seed)
        ComputeBudget(threads: recipe.threads).apply()
        let vae = try TinyRecipe.linearCode.get()
        let start = try TinyRecipe.initialTransformer(recipe)
        // Each run has its own pool, so that it cannot reuse what another run encoded.
        try expectExactResume(
            { try TinyRecipe.streamMethod(recipe, clips: clips, vae: vae) },
            [StreamMethod.trainedRole: start],
            Pauses(steps: 8)
        )
    }

    /// Enough steps for the losses to fall. A run that was killed still ends with the same bits.
    @Test func longRunsLearnAndResumeExactly() throws {
        var recipe = try TinyRecipe.make()
        let clips = try ClipMix(recipe.data, seed: recipe.seed)
        ComputeBudget(threads: recipe.threads).apply()
        let pauses = Pauses(steps: 150, checkpoint: 40, killed: [30, 95])

        let code = try TinyRecipe.linearCode.get()
        let autoencoder = AutoencoderMethod(recipe, clips)
        let first = [autoencoder.trainedRole: code]
        let vae = try expectExactResume({ autoencoder }, first, pauses).averages
        // A clip that is not used in training.
        let unseen = try autoencoder.batch(BatchPlace(step: 1_000))
        try expectLessLoss(autoencoder, unseen, from: Networks(first), to: vae)

        recipe.transformer.phases[0].steps = pauses.steps
        let start = [StreamMethod.trainedRole: try TinyRecipe.initialTransformer(recipe)]
        func method() throws -> StreamMethod {
            try TinyRecipe.streamMethod(
                recipe,
                clips: clips,
                vae: vae[autoencoder.trainedRole]
            )
        }
        let trained = try expectExactResume(method, start, pauses)
        let stream = try method()
        let pairs = try stream.batch(BatchPlace(step: 0))
        try expectLessLoss(stream, pairs, from: Networks(start), to: trained.averages)
    }

    @Test func fallsBackFromADamagedCheckpoint() throws {
        try withFolder { folder in
            let checkpoints = try Checkpoints(folder: folder, stage: "vae", kept: 3)
            let roles = try saveCheckpoints(checkpoints, steps: [10, 20])
            let newest = folder.appending(path: "vae/step-00000020.safetensors")
            let whole = try Data(contentsOf: newest)
            try whole.prefix(whole.count - 1).write(to: newest)
            #expect(try checkpoints.newest(roles)?.step == 10)
        }
    }

    @Test func keepsOnlyTheLastCheckpoints() throws {
        try withFolder { folder in
            let checkpoints = try Checkpoints(folder: folder, stage: "vae", kept: 2)
            _ = try saveCheckpoints(checkpoints, steps: [1, 2, 3, 4, 5])
            let names = try FileManager.default.contentsOfDirectory(
                atPath: folder.appending(path: "vae").path
            )
            #expect(
                names.sorted() == ["step-00000004.safetensors", "step-00000005.safetensors"]
            )
        }
    }

    /// The budget of a thread that was not given one.
    private static func budgetOfAnotherThread() -> ComputeBudget {
        let done = DispatchSemaphore(value: 0)
        nonisolated(unsafe) var budget = ComputeBudget(threads: 1)
        Thread {
            budget = .current
            done.signal()
        }.start()
        done.wait()
        return budget
    }

    @Test(arguments: Device.tested)
    func trainsAModelAndRecordsItsRecipe(device: Device) throws {
        let recipe = try TinyRecipe.make()
        try withFolder { folder in
            let output = folder.appending(path: "model").path
            var seen: [String: Double] = [:]
            let callers = ComputeBudget.current
            let others = Self.budgetOfAnotherThread()
            try Trainer.run(recipe: recipe, output: output, device: device) { progress in
                seen[progress.stage] = Double(progress.step)
                // A stream that runs during training keeps its budget.
                #expect(Self.budgetOfAnotherThread() == others)
            }
            #expect(ComputeBudget.current == callers)
            #expect(Self.budgetOfAnotherThread() == others)
            #expect(seen["vae"] == 6)
            #expect(seen["transformer"] == 8)
            for part in ["vae", "transformer"] {
                let file = try SafetensorsFile(
                    path: "\(output)/\(part)/diffusion_pytorch_model.safetensors"
                )
                let text = try #require(file.metadata["recipe"])
                #expect(try Recipe(yaml: text) == recipe)
                #expect(text.contains("learning_rate: 0.001\n"))
                #expect(file.metadata["name"] == "smallest")
                #expect(file.metadata["license"] == "Apache-2.0")
                #expect(file.metadata["seed"] == "7")
            }
            let config = try JSONDecoder().decode(
                WanVAEConfig.self,
                from: Data(contentsOf: URL(filePath: output + "/vae/config.json"))
            )
            let vae = try Self.weights(output + "/vae/diffusion_pytorch_model.safetensors")
            _ = try LatentCodec(vae, config)
            let tokenizer = try Tokenizer(contentsOf: output + "/tokenizer/spiece.model")
            try tokenizer.requireVocabulary(within: recipe.text.model.vocabulary)
            try expectRecord(in: URL(filePath: output))
            #expect(try KnownStyles.ofModel(output) == KnownStyles(recipe.styles))

            let refusal = #expect(throws: SwanError.self) {
                try Trainer.run(recipe: recipe, output: output)
            }
            #expect(refusal?.code == .cannotWrite)
        }
    }

    @Test func addsAStyleToATrainedModel() throws {
        var recipe = try TinyRecipe.make()
        try withFolder { folder in
            let (first, second) = (
                folder.appending(path: "1").path, folder.appending(path: "2").path
            )
            try Trainer.run(recipe: recipe, output: first)
            recipe.start = first
            recipe.styles.append(.comic)
            var stages: Set<String> = []
            try Trainer.run(recipe: recipe, output: second) { stages.insert($0.stage) }
            #expect(stages == ["text", "transformer"])
            let autoencoder = "vae/diffusion_pytorch_model.safetensors"
            let old = try Self.weights("\(first)/\(autoencoder)")
            let new = try Self.weights("\(second)/\(autoencoder)")
            #expect(Set(old.keys) == Set(new.keys))
            for (key, tensor) in old {
                #expect(try new[key]?.array(of: Float.self) == tensor.array(of: Float.self))
            }
            for file in ["vae/config.json", "tokenizer/spiece.model"] {
                #expect(
                    try Data(contentsOf: URL(filePath: "\(first)/\(file)"))
                        == Data(contentsOf: URL(filePath: "\(second)/\(file)"))
                )
            }

            recipe.transformer.model.ffnDim += 16
            let refusal = #expect(throws: SwanError.self) {
                try Trainer.run(recipe: recipe, output: folder.appending(path: "3").path)
            }
            #expect(refusal?.message.contains("transformer.model") == true)
            recipe.start = "nowhere"
            let missing = #expect(throws: SwanError.self) {
                try Trainer.run(recipe: recipe, output: folder.appending(path: "4").path)
            }
            #expect(missing?.code == .noSuchFile)
        }
    }

    @Test func trainsTheDecoderLongerThanTheEncoder() throws {
        var recipe = try TinyRecipe.make()
        try withFolder { folder in
            let (short, long) = (
                folder.appending(path: "1").path, folder.appending(path: "2").path
            )
            func read(_ output: String) throws -> (weights: [String: Tensor], config: Data) {
                (
                    try Self.weights(output + "/vae/diffusion_pytorch_model.safetensors"),
                    try Data(contentsOf: URL(filePath: output + "/vae/config.json"))
                )
            }
            try Trainer.run(recipe: recipe, output: short)
            recipe.vae.training.decoderSteps = 4
            var steps: [String: Double] = [:]
            try Trainer.run(recipe: recipe, output: long) { steps[$0.stage] = Double($0.step) }
            #expect(steps["decoder"] == 4)
            let (before, after) = (try read(short), try read(long))
            #expect(before.config == after.config)
            #expect(Set(before.weights.keys) == Set(after.weights.keys))
            var changed: Set<String> = []
            for (key, tensor) in before.weights
            where try after.weights[key]?.array(of: Float.self) != tensor.array(of: Float.self) {
                changed.insert(key)
            }
            #expect(changed.contains("decoder.head.2.weight") && changed.contains("conv2.weight"))
            let others = changed.filter { !$0.hasPrefix("decoder.") && !$0.hasPrefix("conv2.") }
            #expect(others.isEmpty)

            // Resuming a finished run changes nothing.
            try Trainer.run(recipe: recipe, output: long, resume: true)
            let again = try read(long)
            for (key, tensor) in after.weights {
                #expect(try again.weights[key]?.array(of: Float.self) == tensor.array())
            }
        }
    }

    @Test(arguments: Device.tested) func autoencoderLossFalls(device: Device) throws {
        let recipe = try TinyRecipe.make()
        let clips = try ClipMix(recipe.data, seed: recipe.seed)
        var options = recipe.vae.training
        options.frames = [5]
        let method = AutoencoderMethod(
            config: recipe.vae.model,
            options: options,
            optimizer: recipe.vae.optimizer,
            clips: clips,
            styles: [],
            seed: 1
        )
        var network = try TrainedNetwork(TinyRecipe.linearCode.get(), on: device)
        var carry: [String: Tensor] = [:]
        // The same clips in every step make the losses comparable.
        let batch = try method.batch(BatchPlace(step: 0))
        var losses: [Double] = []
        for step in 0..<40 {
            let place = BatchPlace(step: step)
            let networks = Networks([method.trainedRole: network.weights])
            let loss = try method.loss(batch, place, networks, carry: &carry)
            try network.applyUpdate(loss, step: step, of: 40, recipe.vae.optimizer)
            losses.append(try loss.total.item())
        }
        let (early, late) = (losses.prefix(5).reduce(0, +), losses.suffix(5).reduce(0, +))
        #expect(late < 0.9 * early, "\(losses)")
    }

    // MARK: - Helpers

    private static func weights(_ path: String) throws -> [String: Tensor] {
        let file = try SafetensorsFile(path: path)
        var weights: [String: Tensor] = [:]
        for key in file.keys { weights[key] = try file.tensor(key).to(.float32) }
        return weights
    }

    /// Saves a small network for several steps, and returns its roles.
    private func saveCheckpoints(_ checkpoints: Checkpoints, steps: [Int]) throws -> [Role] {
        let network = try TrainedNetwork(["w": Tensor([1, 2, 3] as [Float], [3])])
        let roles = [Role.trained("a", by: try TinyRecipe.make().vae.optimizer)]
        for step in steps {
            try checkpoints.save(TrainingState(step: step, ["a": network]), roles, metadata: [:])
        }
        return roles
    }

    private func expectLessLoss<M: Method>(
        _ method: M,
        _ batch: M.Batch,
        from start: Networks,
        to end: Networks
    ) throws {
        let update = try #require(method.updates(at: 0).first)
        let losses = try [start, end].map { networks in
            var carry: [String: Tensor] = [:]
            return try update.loss(batch, BatchPlace(step: 0), networks, &carry).total.item()
        }
        #expect(losses[1] < 0.9 * losses[0], "\(losses)")
    }

    private func withFolder<Result>(_ body: (URL) throws -> Result) throws -> Result {
        let folder = try TemporaryDirectory()
        return try withExtendedLifetime(folder) { try body(folder.url) }
    }
}
