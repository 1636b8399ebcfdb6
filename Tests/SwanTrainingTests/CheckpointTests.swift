import Foundation
import GoldenSupport
import Testing
import Torch

@testable import SwanTiny
@testable import SwanTraining
import SwanSystem

/// The files that a resumed run reads: a changed bit is found anywhere.
@Suite("Checkpoints", .serialized)
struct CheckpointTests {
    @Test func findsChangedBitsAnywhere() throws {
        let folder = try TemporaryDirectory()
        let checkpoints = try saved(in: folder, steps: [10, 20])
        let path = folder.path("vae/step-00000020.safetensors")
        let whole = try Data(contentsOf: URL(filePath: path))
        let header = 8 + whole.prefix(8).enumerated().reduce(0) { $0 | Int($1.1) << (8 * $1.0) }
        var refused = 0
        for bit in stride(from: 0, to: 8 * whole.count, by: 13) {
            var data = whole
            data[bit / 8] ^= 1 << (bit % 8)
            try data.write(to: URL(filePath: path))
            do {
                let state = try checkpoints.newest(Self.roles)
                // An unreadable header falls back to the previous file. Changed padding has no
                // effect.
                #expect(state?.step == 10 || state?.step == 20 && bit / 8 < header)
                let values = try state?.networks["a"]?.parameters[0].detached()
                    .array(of: Float.self)
                #expect(values == [1, 2, 3])
            } catch let error as SwanError {
                refused += 1
                #expect(error.code == .invalidData)
                #expect(error.message.hasPrefix(path))
                #expect(error.message.contains("step-00000010.safetensors"), "\(error)")
            }
        }
        // All of the tensors' bits, and most of the header's, were refused.
        #expect(refused > 8 * (whole.count - header) / 13)
    }

    @Test func doesNotFallBackFromTheOnlyCheckpoint() throws {
        let folder = try TemporaryDirectory()
        let checkpoints = try saved(in: folder, steps: [10])
        let path = folder.path("vae/step-00000010.safetensors")
        try flip(path, from: -1)
        let error = #expect(throws: SwanError.self) { try checkpoints.newest(Self.roles) }
        #expect(error?.message.contains("restarts the stage 'vae'") == true)
        // Nor does a run silently start over if the file is unreadable.
        try Data("no tensors".utf8).write(to: URL(filePath: path))
        let other = #expect(throws: SwanError.self) { try checkpoints.newest(Self.roles) }
        #expect(other?.code == .invalidData && other?.message.contains(path) == true)
    }

    @Test func refusesARenamedCheckpoint() throws {
        let folder = try TemporaryDirectory()
        let checkpoints = try saved(in: folder, steps: [10])
        try FileManager.default.moveItem(
            atPath: folder.path("vae/step-00000010.safetensors"),
            toPath: folder.path("vae/step-00000030.safetensors")
        )
        let error = #expect(throws: SwanError.self) { try checkpoints.newest(Self.roles) }
        #expect(error?.code == .invalidData)
    }

    @Test func acceptsCheckpointsWithoutChecksums() throws {
        let folder = try TemporaryDirectory()
        let checkpoints = try saved(in: folder, steps: [10])
        let path = folder.path("vae/step-00000010.safetensors")
        try removeChecksum(path)
        #expect(try checkpoints.newest(Self.roles)?.step == 10)
    }

    /// The other files that a resumed run reads.
    @Test func verifiesTheFilesOfFinishedStages() throws {
        var recipe = try TinyRecipe.make()
        recipe.samples = SampleOptions(clips: 0)
        let folder = try TemporaryDirectory()
        let output = folder.path("model")
        try Trainer.run(recipe: recipe, output: output)
        func resume() throws { try Trainer.run(recipe: recipe, output: output, resume: true) }
        func weights() throws -> Data {
            try Data(
                contentsOf: URL(
                    filePath: output + "/transformer/diffusion_pytorch_model.safetensors"
                )
            )
        }
        let before = try weights()
        try resume()
        #expect(try weights() == before)
        for (file, offset) in [
            ("checkpoints/vae.safetensors", -1), ("tokenizer/spiece.model", 40),
            ("checkpoints/transformer/step-00000008.safetensors", -1),
            ("checkpoints/text/step-00000004.safetensors", -1),
        ] {
            try flip("\(output)/\(file)", from: offset)
            let error = #expect(throws: SwanError.self) { try resume() }
            #expect(error?.code == .invalidData, "\(file)")
            #expect(error?.message.contains(file) == true)
            #expect(error?.message.contains("--resume") == true)
            // Following the message's advice gives the same weights.
            try FileManager.default.removeItem(atPath: "\(output)/\(file)")
            try resume()
            #expect(try weights() == before, "\(file)")
        }
        // The model's configuration is rewritten from the checkpoint, so damage to it does not
        // matter.
        try Data("{}".utf8).write(to: URL(filePath: output + "/vae/config.json"))
        try resume()
        #expect(try weights() == before)
    }

    /// The format from before checkpoints named their roles, for a stage with one network.
    @Test func acceptsCheckpointsWithoutRoles() throws {
        let folder = try TemporaryDirectory()
        let checkpoints = try saved(in: folder, steps: [10])
        let path = folder.path("vae/step-00000010.safetensors")
        try rewrite(path) { tensors, metadata in
            tensors = Dictionary(
                uniqueKeysWithValues: tensors.map { key, tensor in
                    (key.hasPrefix("a/") ? String(key.dropFirst(2)) : key, tensor)
                }
            )
            metadata["updates.a"] = nil
        }
        let state = try #require(try checkpoints.newest(Self.roles))
        let network = try #require(state.networks["a"])
        #expect(state.step == 10 && network.updates == 10)
        #expect(network.keys == ["w"])
        #expect(try network.weights["w"]?.detached().array(of: Float.self) == [1, 2, 3])
        #expect(try state.carry["0/kept"]?.array(of: Float.self) == [4])
        // A stage with two networks refuses such a checkpoint.
        let error = #expect(throws: SwanError.self) {
            try checkpoints.newest(Self.roles + [.trained("b", by: Self.options)])
        }
        #expect(error?.code == .invalidData && error?.message.contains(path) == true)
    }

    @Test func refusesACheckpointWithOtherRoles() throws {
        let folder = try TemporaryDirectory()
        let checkpoints = try saved(in: folder, steps: [10])
        for roles in [
            [Role.trained("b", by: Self.options)], Self.roles + [.trained("b", by: Self.options)],
            Self.roles + [.frozen("teacher")],
        ] {
            let error = #expect(throws: SwanError.self) { try checkpoints.newest(roles) }
            #expect(error?.code == .invalidData)
            #expect(error?.message.contains("trained networks a and frozen networks none") == true)
        }
    }

    // MARK: - Fixtures

    private static let options = OptimizerOptions(
        learningRate: 1e-3,
        warmUpSteps: 0,
        decayFrom: 1,
        finalRate: 1,
        betas: [0.9, 0.99],
        weightDecay: 0,
        maximumGradientNorm: 1,
        averageDecay: 0.9
    )
    private static let roles = [Role.trained("a", by: options)]

    private func saved(in folder: TemporaryDirectory, steps: [Int]) throws -> Checkpoints {
        let checkpoints = try Checkpoints(folder: folder.url, stage: "vae", kept: 3)
        let network = try TrainedNetwork(["w": Tensor([1, 2, 3] as [Float], [3])])
        let carry = ["0/kept": try Tensor([4] as [Float], [1])]
        for step in steps {
            let state = TrainingState(step: step, ["a": network], carry: carry)
            try checkpoints.save(state, Self.roles, metadata: ["name": "smallest"])
        }
        return checkpoints
    }

    /// Flips a bit of the byte at `offset`, which counts from the end if negative.
    private func flip(_ path: String, from offset: Int) throws {
        var data = try Data(contentsOf: URL(filePath: path))
        data[offset < 0 ? data.count + offset : offset] ^= 4
        try data.write(to: URL(filePath: path))
    }

    /// Rewrites a file without its checksum.
    private func removeChecksum(_ path: String) throws {
        try rewrite(path) { _, metadata in #expect(metadata["swan.sha256"] == nil) }
    }

    /// Rewrites a file with changed contents and no checksum.
    private func rewrite(
        _ path: String,
        _ change: (inout [String: Tensor], inout [String: String]) -> Void
    ) throws {
        let file = try SafetensorsFile(path: path)
        var tensors: [String: Tensor] = [:]
        for key in file.keys { tensors[key] = try file.tensor(key).cloned() }
        var metadata = file.metadata.filter { $0.key != "swan.sha256" }
        #expect(metadata.count == file.metadata.count - 1)
        change(&tensors, &metadata)
        try Safetensors.write(tensors, metadata: metadata, to: path)
    }
}
