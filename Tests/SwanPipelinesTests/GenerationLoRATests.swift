import Foundation
import GoldenSupport
import ModelSupport
import SwanCheckpoints
import SwanSystem
import Testing
import Torch
import TorchNN

@testable import SwanPipelines

/// LoRAs in generated videos: other variants, files for two experts.
@Suite struct GenerationLoRATests {
    private let folder: TemporaryDirectory
    private let checkpoint: RandomCheckpoint
    private let experts: RandomCheckpoint

    init() throws {
        folder = try TemporaryDirectory()
        checkpoint = try RandomCheckpoint(.textToVideo, .original, at: folder.path("model"))
        experts = try RandomCheckpoint(
            .textToVideoExperts,
            .original,
            at: folder.path("experts")
        )
    }

    private func write(_ name: String, _ modules: [String], seed: UInt64 = 3) throws -> String {
        let generator = try Generator(seed: seed)
        var keys: [String: Tensor] = [:]
        for module in modules {
            keys["\(module).lora_A.weight"] = try .randn([2, 48], generator)
            keys["\(module).lora_B.weight"] = try .randn([48, 2], generator)
        }
        let path = folder.path(name)
        try Safetensors.write(keys, to: path)
        return path
    }

    private func model(
        _ checkpoint: RandomCheckpoint,
        _ files: [GenerationOptions.LoRAFile],
        isStrict: Bool = false
    ) throws -> GenerationModel {
        var options = GenerationOptions()
        options.device = "cpu"
        options.loras = files
        options.requiresWholeLoRAs = isStrict
        return try GenerationModel(checkpoint.path, options: options)
    }

    private static let layer = "blocks.0.self_attn.q"

    /// The change of a layer in a transformer.
    private func change(_ model: GenerationModel, _ part: ModelFolder.Part) throws -> [Float] {
        let key = "\(Self.layer).weight"
        let own = try model.folder.weights(of: model.folder.require(part))
        let changed = try model.transformerWeights(part).source
        return try (changed.tensor(key, [48, 48]) - own.tensor(key, [48, 48])).array(of: Float.self)
    }

    @Test func tellsWhatIsLeftOut() throws {
        let q = "pipe.dit.\(Self.layer)"
        let image = "pipe.dit.blocks.0.cross_attn.k_img"
        let file = try write("variant.safetensors", [q, image])
        let opened = try model(checkpoint, [.init(file)])
        #expect(opened.loraNotes.count == 1)
        let note = opened.loraNotes.first ?? ""
        #expect(note.contains("2 of its 4 keys have no place"), "\(note)")
        #expect(try change(opened, .transformer).contains { $0 != 0 })
        // The same of both experts is said once.
        #expect(try model(experts, [.init(file)]).loraNotes == opened.loraNotes)
        #expect(throws: SwanError.self) { try model(checkpoint, [.init(file)], isStrict: true) }
        let fits = try write("fits.safetensors", [q])
        #expect(try model(checkpoint, [.init(fits)], isStrict: true).loraNotes == [])
    }

    /// A file with names for both, and a folder with a file for each.
    @Test func dividesLoRAsForTwoExperts() throws {
        let q = Self.layer
        let file = try write("two.safetensors", ["transformer.\(q)", "transformer_2.\(q)"])
        let both = try model(experts, [.init(file)])
        let high = try change(both, .transformer)
        let low = try change(both, .lowNoiseTransformer)
        #expect(high != low)
        #expect(throws: SwanError.self) { try model(checkpoint, [.init(file)]) }

        try FileManager.default.createDirectory(
            atPath: folder.path("pair"),
            withIntermediateDirectories: true
        )
        let one = try write("pair/high_noise_model.safetensors", [q], seed: 4)
        let other = try write("pair/low_noise_model.safetensors", [q], seed: 5)
        let pair = try model(experts, [.init(folder.path("pair"))])
        let named = try model(
            experts,
            [.init(one, expert: .transformer), .init(other, expert: .lowNoiseTransformer)]
        )
        for part in [ModelFolder.Part.transformer, .lowNoiseTransformer] {
            let expected = try change(named, part)
            #expect(try change(pair, part) == expected)
            #expect(expected.contains { $0 != 0 })
        }
        #expect(pair.loraNotes.isEmpty && named.loraNotes.isEmpty)
        let careless = try model(experts, [.init(one)])
        let note = careless.loraNotes.first ?? ""
        #expect(note.contains("is applied to both experts"), "\(note)")
        #expect(note.contains("--lora high:FILE"), "\(note)")
        #expect(try model(checkpoint, [.init(one)]).loraNotes == [])
    }
}
