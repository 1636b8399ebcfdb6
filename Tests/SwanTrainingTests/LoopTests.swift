import Foundation
import GoldenSupport
import SwanCheckpoints
import SwanModels
import SwanText
import Testing
import Torch
import TorchNN

@testable import SwanTraining

@Suite("Training", .serialized)
struct LoopTests {
    @Test func aRunThatWasKilledEndsWithTheSameBits() throws {
        let recipe = try TinyRecipe.make()
        let clips = try ClipMix(recipe.data, seed: recipe.seed)
        Engine.threads = recipe.threads
        let start = try TinyRecipe.linearCode.get()
        let objective = VAEObjective(recipe, clips)
        try expectExactResume({ objective }, start, recipe.vae.optimizer, Pauses(steps: 6))
    }

    @Test(arguments: [false, true])
    func aTransformersRunThatWasKilledEndsWithTheSameBits(muon: Bool) throws {
        var recipe = try TinyRecipe.make()
        recipe.transformer.optimizer.muon = muon
        let clips = try ClipMix(recipe.data, seed: recipe.seed)
        Engine.threads = recipe.threads
        let vae = try TinyRecipe.linearCode.get()
        let start = try TinyRecipe.startOfTransformer(recipe)
        // A pool for each run: what one run has encoded may not help the other.
        try expectExactResume(
            { try TinyRecipe.streamObjective(recipe, clips: clips, vae: vae) },
            start,
            recipe.transformer.optimizer,
            Pauses(steps: 8)
        )
    }

    /// As long as training takes to show what it does: losses fall, and a run that was killed ends with
    /// the same bits.
    @Test func hundredsOfSteps() throws {
        var recipe = try TinyRecipe.make()
        let clips = try ClipMix(recipe.data, seed: recipe.seed)
        Engine.threads = recipe.threads
        let pauses = Pauses(steps: 150, checkpoint: 40, killed: [30, 95])

        let code = try TinyRecipe.linearCode.get()
        let autoencoder = VAEObjective(recipe, clips)
        let vae = try expectExactResume({ autoencoder }, code, recipe.vae.optimizer, pauses)
        // A clip that was not trained on.
        let unseen = try autoencoder.batch(BatchPlace(step: 1_000))
        try expectLessLoss(autoencoder, unseen, from: code, to: vae.averages)

        recipe.transformer.phases[0].steps = pauses.steps
        let start = try TinyRecipe.startOfTransformer(recipe)
        func objective() throws -> StreamObjective {
            try TinyRecipe.streamObjective(recipe, clips: clips, vae: vae.averages)
        }
        let trained = try expectExactResume(objective, start, recipe.transformer.optimizer, pauses)
        let stream = try objective()
        let pairs = try stream.batch(BatchPlace(step: 0))
        try expectLessLoss(stream, pairs, from: start, to: trained.averages)
    }

    @Test func aDamagedCheckpointGivesWayToTheOneBefore() throws {
        try withFolder { folder in
            let checkpoints = try Checkpoints(folder: folder, stage: "vae", kept: 3)
            var state = try TrainingState(["a": Tensor([1, 2, 3] as [Float], [3])])
            for step in [10, 20] {
                state.step = step
                try checkpoints.save(state, metadata: [:])
            }
            let newest = folder.appending(path: "vae/step-00000020.safetensors")
            let whole = try Data(contentsOf: newest)
            try whole.prefix(whole.count - 1).write(to: newest)
            #expect(try checkpoints.newest()?.step == 10)
        }
    }

    @Test func onlyTheLastCheckpointsStay() throws {
        try withFolder { folder in
            let checkpoints = try Checkpoints(folder: folder, stage: "vae", kept: 2)
            var state = try TrainingState(["a": Tensor([1] as [Float], [1])])
            for step in 1...5 {
                state.step = step
                try checkpoints.save(state, metadata: [:])
            }
            let names = try FileManager.default.contentsOfDirectory(
                atPath: folder.appending(path: "vae").path
            )
            #expect(
                names.sorted() == ["step-00000004.safetensors", "step-00000005.safetensors"]
            )
        }
    }

    @Test(arguments: Device.tested)
    func aWholeRecipeGivesAModelAndSaysWhatMadeIt(device: Device) throws {
        let recipe = try TinyRecipe.make()
        try withFolder { folder in
            let output = folder.appending(path: "model").path
            var seen: [String: Double] = [:]
            try Trainer.run(recipe: recipe, output: output, device: device) { progress in
                seen[progress.stage] = Double(progress.step)
            }
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
            #expect(try KnownLooks.ofModel(output) == KnownLooks(recipe.styles))

            let refusal = #expect(throws: TrainingError.self) {
                try Trainer.run(recipe: recipe, output: output)
            }
            #expect(refusal?.code == .cannotWrite)
        }
    }

    @Test func aStyleMoreIsTaughtToATrainedModel() throws {
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
            let refusal = #expect(throws: TrainingError.self) {
                try Trainer.run(recipe: recipe, output: folder.appending(path: "3").path)
            }
            #expect(refusal?.message.contains("transformer.model") == true)
            recipe.start = "nowhere"
            let missing = #expect(throws: TrainingError.self) {
                try Trainer.run(recipe: recipe, output: folder.appending(path: "4").path)
            }
            #expect(missing?.code == .noSuchFile)
        }
    }

    @Test func aDecoderLearnsLongerThanItsEncoder() throws {
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

            // A finished run that is resumed leaves everything as it is.
            try Trainer.run(recipe: recipe, output: long, resume: true)
            let again = try read(long)
            for (key, tensor) in after.weights {
                #expect(try again.weights[key]?.array(of: Float.self) == tensor.array())
            }
        }
    }

    @Test(arguments: Device.tested) func theAutoencodersLossFalls(device: Device) throws {
        let recipe = try TinyRecipe.make()
        let clips = try ClipMix(recipe.data, seed: recipe.seed)
        var options = recipe.vae.training
        options.frames = [5]
        let objective = VAEObjective(
            config: recipe.vae.model,
            options: options,
            clips: clips,
            styles: [],
            seed: 1
        )
        var state = try TrainingState(TinyRecipe.linearCode.get(), on: device)
        // Always the same clips, so that steps are compared and not clips.
        let batch = try objective.batch(BatchPlace(step: 0))
        var losses: [Double] = []
        for step in 0..<40 {
            let place = BatchPlace(step: step)
            let loss = try objective.loss(batch, place, state.weights, carry: &state.carry)
            let found = try gradients(of: loss.total, for: state.parameters)
            let whole = try zip(found, state.parameters).map { gradient, parameter in
                try gradient ?? parameter.detached().zerosLike()
            }
            _ = try state.optimizer.update(
                state.parameters,
                whole,
                step: step,
                of: 40,
                recipe.vae.optimizer
            )
            losses.append(try loss.total.item())
        }
        let (early, late) = (losses.prefix(5).reduce(0, +), losses.suffix(5).reduce(0, +))
        #expect(late < 0.9 * early, "\(losses)")
    }

    // MARK: - Help

    private static func weights(_ path: String) throws -> [String: Tensor] {
        let file = try SafetensorsFile(path: path)
        var weights: [String: Tensor] = [:]
        for key in file.keys { weights[key] = try file.tensor(key).to(.float32) }
        return weights
    }

    /// How long a run is, and what interrupts it.
    private struct Pauses {
        let steps: Int
        /// Steps from one checkpoint to the next.
        var checkpoint = 2
        /// Steps after which it is killed, between checkpoints.
        var killed = [3, 5]
    }

    private func expectLessLoss<Goal: Objective>(
        _ objective: Goal,
        _ batch: Goal.Batch,
        from start: [String: Tensor],
        to end: [String: Tensor]
    ) throws {
        let losses = try [start, end].map { weights in
            var carry: [String: Tensor] = [:]
            return try objective.loss(batch, BatchPlace(step: 0), weights, carry: &carry)
                .total.item()
        }
        #expect(losses[1] < 0.9 * losses[0], "\(losses)")
    }

    /// Trains without a break; and killed between checkpoints, going on from the disk each time.
    @discardableResult
    private func expectExactResume<Goal: Objective>(
        _ objective: () throws -> Goal,
        _ start: [String: Tensor],
        _ options: OptimizerOptions,
        _ pauses: Pauses
    ) throws -> TrainingState {
        try withFolder { folder in
            func loop(_ name: String) throws -> TrainingLoop<Goal> {
                TrainingLoop(
                    stage: name,
                    steps: pauses.steps,
                    objective: try objective(),
                    options: options,
                    checkpoints: try Checkpoints(folder: folder, stage: name, kept: 2),
                    checkpointOptions: CheckpointSchedule(
                        everySteps: pauses.checkpoint,
                        everyMinutes: 60,
                        kept: 2
                    ),
                    metadata: [:]
                )
            }
            func run(_ name: String, stoppingAt stop: Int? = nil) throws -> TrainingState {
                try loop(name).run(from: { start }, stoppingAt: stop) { _ in }
            }
            let whole = try run("whole")
            for step in pauses.killed { _ = try run("killed", stoppingAt: step) }
            let resumed = try run("killed")
            #expect(whole.step == pauses.steps && resumed.step == pauses.steps)
            #expect(whole.keys == resumed.keys)
            let pairs = zip(
                whole.parameters + whole.optimizer.averages + whole.optimizer.firstMoments
                    + whole.optimizer.secondMoments.compactMap(\.self),
                resumed.parameters + resumed.optimizer.averages + resumed.optimizer.firstMoments
                    + resumed.optimizer.secondMoments.compactMap(\.self)
            )
            for (a, b) in pairs {
                #expect(
                    try a.detached().array(of: Float.self) == b.detached().array(of: Float.self)
                )
            }
            let moved = try zip(whole.keys, whole.parameters).contains { key, parameter in
                try start[key]?.array(of: Float.self) != parameter.detached().array(of: Float.self)
            }
            #expect(moved, "training changed nothing")
            return whole
        }
    }

    private func withFolder<Result>(_ body: (URL) throws -> Result) throws -> Result {
        let folder = try TemporaryDirectory()
        return try withExtendedLifetime(folder) { try body(folder.url) }
    }
}
