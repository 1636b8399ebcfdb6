import Foundation
import GoldenSupport
import SwanModels
import SwanSystem
import Testing
import Torch
import TorchNN

@testable import SwanCheckpoints

/// Files of LoRAs that were trained here.
@Suite struct LoRAFormatTests {
    private let golden: Golden
    private let base: [String: Tensor]
    private let config: WanConfig

    init() throws {
        golden = try Golden("wan_t2v_a")
        base = try golden.weights
        config = try golden.config()
    }

    /// A LoRA with alpha unequal to the rank, for all matrices of blocks and some others, which
    /// musubi-tuner does not train.
    private func layers(_ format: LoRAFormat = .peft) throws -> LoRALayers {
        try LoRALayers(
            of: DictionaryWeights(base),
            targets: LoRALayers.usualTargets
                + (format == .musubi ? [] : ["proj_out", "time_projection.1"]),
            rank: 3,
            alpha: 1.5
        )
    }

    /// Leaves as after some training.
    private func leaves(_ layers: LoRALayers) throws -> [String: Tensor] {
        let generator = try Generator(seed: 11)
        var leaves = try layers.start(seed: 4)
        for key in leaves.keys.sorted() where key.contains("lora_B") {
            if let leaf = leaves[key] {
                leaves[key] = try Tensor.randn(leaf.shape, generator) * 0.1
            }
        }
        return leaves
    }

    /// What is written is what a network with the leaves computes, and what diffusers computes with
    /// the file.
    @Test(arguments: LoRAFormat.allCases) func roundTrips(_ format: LoRAFormat) throws {
        let layers = try layers(format)
        let leaves = try leaves(layers)
        let folder = try TemporaryDirectory()
        let path = folder.path("lora.safetensors")
        try layers.write(leaves, as: format, metadata: ["made_by": "swan"], to: path)
        // Writes the files for the generator of the golden.
        if let place = ProcessInfo.processInfo.environment["SWAN_LORA_WRITTEN"] {
            let file = "\(place)/\(format.rawValue).safetensors"
            try layers.write(leaves, as: format, metadata: ["made_by": "swan"], to: file)
        }
        let committed = Golden.path("lora_written/\(format.rawValue).safetensors")
        #expect(FileManager.default.contentsEqual(atPath: path, andPath: committed))

        let lora = try LoRA.open(path)
        let trained = try Golden("lora_trained")
        let input = try trained.tensors(under: "input")
        func flow(_ source: any WeightSource) throws -> Tensor {
            let network = try WanTransformer(Weights(source), config)
            return try network(
                #require(input["video"]),
                timesteps: #require(input["timestep"]).to(.float32),
                text: network.text(#require(input["context"]))
            )
        }
        let plain = DictionaryWeights(base)
        let outputs = try trained.tensors(under: "output")
        let theirs = try #require(outputs[format.rawValue])
        try expectClose(flow(plain), #require(outputs["plain"]), relative: 1e-5, absolute: 1e-5)
        for (name, source) in [
            ("leaves", try layers.applied(leaves, to: plain)),
            ("merged", try LoRAWeights(plain, [lora])),
            ("added", try LoRAWeights(plain, [lora], live: true)),
        ] as [(String, any WeightSource)] {
            try expectClose(flow(source), theirs, relative: 1e-5, absolute: 1e-5, name)
        }
    }

    /// Before training, nothing is changed.
    @Test func startsWithoutAnEffect() throws {
        let layers = try layers()
        let start = try layers.start(seed: 4)
        #expect(start.count == 2 * layers.layers.count)
        #expect(layers.layers.count == 2 * 10 + 2)
        let count = start.values.reduce(0) { $0 + $1.count }
        #expect(count == layers.parameterCount)
        for (key, leaf) in start {
            let largest: Double = try leaf.abs().max().item()
            #expect((largest == 0) == key.contains("lora_B"), "\(key)")
        }
        let again = try layers.start(seed: 4)
        for (key, leaf) in start {
            let other = try #require(again[key])
            #expect(try leaf.array(of: Float.self) == other.array(of: Float.self))
        }
    }

    @Test(arguments: [
        (["to_k"], 4), (["self_attn.q"], 2), (["blocks.1.ffn.2"], 1), (["ffn.net.0.proj"], 2),
        (["all-linear"], 26), (["attn1.to_q", "q"], 4),
    ])
    func findsTargets(_ targets: [String], _ count: Int) throws {
        let source = DictionaryWeights(base)
        let layers = try LoRALayers(of: source, targets: targets, rank: 2, alpha: 2)
        #expect(layers.layers.count == count, "\(layers.layers.map(\.module))")
    }

    @Test func refusesWhatTheModelDoesNotHave() throws {
        let source = DictionaryWeights(base)
        var error = #expect(throws: SwanError.self) {
            try LoRALayers(of: source, targets: ["to_z"], rank: 2, alpha: 2)
        }
        #expect(error?.message.contains("'to_z'") ?? false, "\(error?.message ?? "")")
        error = #expect(throws: SwanError.self) {
            try LoRALayers(of: source, targets: ["q"], rank: 49, alpha: 2)
        }
        #expect(error?.message.contains("rank: 49") ?? false, "\(error?.message ?? "")")
    }
}

extension LoRAFormatTests {
    /// Converted to any names, a LoRA makes the same of a model.
    @Test(arguments: LoRAFormat.allCases, LoRAFormat.allCases)
    func converts(_ from: LoRAFormat, _ to: LoRAFormat) throws {
        let folder = try TemporaryDirectory()
        let source = Golden.path("lora_written/\(from.rawValue).safetensors")
        let target = folder.path("converted.safetensors")
        #expect(try LoRAConversion.convert(source, to: target, as: to) == nil)
        let written = try SafetensorsFile(
            path: Golden.path("lora_written/\(to.rawValue).safetensors")
        )
        let keys = try SafetensorsFile(path: target).keys
        if (from == .musubi) == (to == .musubi) { #expect(keys.sorted() == written.keys.sorted()) }
        let plain = DictionaryWeights(try Golden("wan_t2v_a").weights)
        let one = try LoRAWeights(plain, [LoRA.open(source)])
        let other = try LoRAWeights(plain, [LoRA.open(target)])
        for key in one.keys {
            let shape = try #require(try one.shape(key))
            try expectClose(other.tensor(key, shape), one.tensor(key, shape), absolute: 1e-6, key)
        }
        #expect(throws: SwanError.self) {
            try LoRAConversion.convert(source, to: target, as: to)
        }
    }

    /// Biases and full differences have names in ComfyUI's files alone.
    @Test func refusesWhatAFormatCannotSay() throws {
        let folder = try TemporaryDirectory()
        let source = folder.path("source.safetensors")
        let key = "diffusion_model.blocks.0.self_attn.norm_q.diff"
        try Safetensors.write([key: .zeros([48])], to: source)
        let comfy = folder.path("c.safetensors")
        #expect(try LoRAConversion.convert(source, to: comfy, as: .comfyUI) == nil)
        #expect(try SafetensorsFile(path: folder.path("c.safetensors")).keys == [key])
        let error = #expect(throws: SwanError.self) {
            try LoRAConversion.convert(source, to: folder.path("p.safetensors"), as: .peft)
        }
        #expect(error?.message.contains("self_attn.norm_q.diff") ?? false)
    }
}
