import Foundation
import GoldenSupport
import ModelSupport
import SwanMedia
import SwanSystem
import Testing
import Torch
import TorchNN

@testable import SwanCheckpoints
@testable import SwanPipelines

/// LoRAs in streams.
@Suite struct StreamLoRATests {
    private let folder: TemporaryDirectory
    private let lora: String

    init() throws {
        folder = try TemporaryDirectory()
        try TinyModel.write(to: folder.path("model"))
        lora = folder.path("lora.safetensors")
        let model = try ModelFolder(folder.path("model"))
        let source = try model.weights(of: model.require(.transformer))
        let layers = try LoRALayers(of: source, rank: 2, alpha: 2)
        let generator = try Generator(seed: 8)
        var leaves = try layers.start(seed: 1)
        for key in leaves.keys.sorted() where key.contains("lora_B") {
            if let leaf = leaves[key] { leaves[key] = try .randn(leaf.shape, generator) }
        }
        try layers.write(leaves, as: .comfyUI, to: lora)
    }

    private func model(_ strength: Double?, live: Bool = false) throws -> StreamModel {
        try StreamModel.load(
            folder.path("model"),
            dtype: .float32,
            device: .cpu,
            loras: strength.map { [.init(lora, strength: $0)] } ?? [],
            addsLoRAsLive: live
        )
    }

    private func frame(_ index: Int) throws -> VideoFrame {
        let pixels = (0..<64 * 64 * 3).map { UInt8(($0 * 7 + index * 13) % 256) }
        return try VideoFrame(width: 64, height: 64, pixels: pixels)
    }

    /// What a stream makes of a few frames; `change` is called before a frame.
    private func output(
        _ model: StreamModel,
        frames: Int = 13,
        change: (VideoStream, Int) throws -> Void = { _, _ in }
    ) throws -> [[UInt8]] {
        let options = StreamOptions(model.configuration)
        let stream = try VideoStream(model, prompt: "neon", options: options)
        var made: [VideoFrame] = []
        for index in 0..<frames {
            try change(stream, index)
            made += try stream.push(frame(index))
        }
        return try (made + stream.finish()).map(\.pixels)
    }

    /// The largest difference of two outputs.
    private func difference(_ one: [[UInt8]], _ other: [[UInt8]]) -> Int {
        guard one.count == other.count else { return 256 }
        return zip(one.joined(), other.joined()).map { abs(Int($0) - Int($1)) }.max() ?? 0
    }

    /// Merged or added, the result is the same; strength 0 changes nothing.
    @Test func appliesLoRAs() throws {
        let plain = try output(model(nil))
        #expect(try difference(output(model(0)), plain) == 0)
        #expect(try difference(output(model(0, live: true)), plain) == 0)
        let merged = try output(model(0.7))
        #expect(difference(merged, plain) > 4)
        #expect(try difference(output(model(0.7, live: true)), merged) <= 1)
        #expect(try difference(output(model(-0.7)), merged) > 4)
    }

    /// A new strength holds from the next chunk on, as if the model had been loaded with it.
    @Test func changesStrengthsLive() throws {
        let plain = try output(model(nil))
        let changing = try model(0.9, live: true)
        let off = try output(changing) { stream, index in
            if index == 0 { try stream.setStrength(0) }
        }
        #expect(difference(off, plain) == 0)
        let later = try output(changing) { stream, index in
            if index == 9 { try stream.setStrength(1.5) }
        }
        #expect(difference(Array(later.prefix(5)), Array(plain.prefix(5))) == 0)
        #expect(difference(Array(later.suffix(4)), Array(plain.suffix(4))) > 4)
        let merged = try model(0.5)
        let stream = try VideoStream(
            merged,
            prompt: "neon",
            options: StreamOptions(merged.configuration)
        )
        #expect(throws: SwanError.self) { try stream.setStrength(1) }
        #expect(throws: SwanError.self) {
            try VideoStream(
                changing,
                prompt: "neon",
                options: StreamOptions(changing.configuration)
            ).setStrength(1, ofLoRA: 1)
        }
    }

    /// Set before the first chunk, LoRAs are those of a model that was loaded with them. Set later,
    /// they change what comes after, and none is what the model is.
    @Test func changesLoRAs() throws {
        let plain = try output(model(nil))
        let loaded = try output(model(0.7))
        let file = GenerationOptions.LoRAFile(lora, strength: 0.7)
        let base = try model(nil)
        let first = try output(base) { stream, index in
            guard index == 0 else { return }
            let notes = try stream.setLoRAs([file])
            #expect(notes.isEmpty)
        }
        #expect(first == loaded)
        let removed = try output(model(0.7)) { stream, index in
            if index == 0 { try stream.setLoRAs([]) }
        }
        #expect(removed == plain)
        // The prompt's keys and values are those of the new network, also after a new prompt.
        let prompted = try output(base) { stream, index in
            if index == 0 {
                try stream.setLoRAs([file])
                try stream.setPrompt("neon")
            }
        }
        #expect(prompted == loaded)
        let later = try output(base) { stream, index in
            if index == 9 { try stream.setLoRAs([file]) }
        }
        #expect(Array(later.prefix(5)) == Array(plain.prefix(5)))
        #expect(difference(Array(later.suffix(4)), Array(plain.suffix(4))) > 4)
        let again = try output(base) { stream, index in
            if index == 9 { try stream.setLoRAs([file]) }
        }
        #expect(again == later)
        // Streams of one model do not share what was set.
        let untouched = try output(base)
        #expect(untouched == plain)
    }

    /// A change that cannot be made leaves the stream as it is.
    @Test func keepsItsLoRAsIfOthersDoNotFit() throws {
        let plain = try output(model(nil))
        let same = try output(model(nil)) { stream, index in
            guard index == 9 else { return }
            #expect(throws: SwanError.self) { try stream.setLoRAs([.init(folder.path("none"))]) }
        }
        #expect(same == plain)
        let live = try model(0.5, live: true)
        let options = StreamOptions(live.configuration)
        let stream = try VideoStream(live, prompt: "neon", options: options)
        try stream.setLoRAs([])
        #expect(throws: SwanError.self) { try stream.setStrength(1) }
    }

    /// Keys without a place are left out with a message, or refused.
    @Test func tellsWhatIsLeftOut() throws {
        let other = folder.path("variant.safetensors")
        let file = try SafetensorsFile(path: lora)
        var keys: [String: Tensor] = [:]
        for key in file.keys { keys[key] = try file.tensor(key) }
        keys["diffusion_model.blocks.0.cross_attn.k_img.diff_b"] = try .zeros([8])
        try Safetensors.write(keys, to: other)
        let taken = try StreamModel.load(
            folder.path("model"),
            dtype: .float32,
            device: .cpu,
            loras: [.init(other, strength: 0.7)]
        )
        #expect(taken.loraNotes.count == 1)
        #expect(taken.loraNotes.first?.contains("k_img") ?? false)
        let expected = try output(model(0.7))
        let made = try output(taken)
        #expect(made == expected)
        let stream = try VideoStream(
            taken,
            prompt: "neon",
            options: StreamOptions(taken.configuration)
        )
        let notes = try stream.setLoRAs([.init(other)])
        #expect(notes.count == 1)
        #expect(throws: SwanError.self) {
            try stream.setLoRAs([.init(other)], requiresWhole: true)
        }
        #expect(throws: SwanError.self) {
            try StreamCheckpoint(
                folder.path("model"),
                loras: [.init(other)],
                requiresWholeLoRAs: true
            )
        }
    }

    @Test func refusesWhatDoesNotFit() throws {
        #expect(throws: SwanError.self) {
            try StreamCheckpoint(
                folder.path("model"),
                loras: [.init(lora, expert: .transformer)]
            )
        }
        let other = folder.path("other.safetensors")
        try Safetensors.write(
            [
                "diffusion_model.blocks.0.self_attn.q.lora_down.weight": .zeros([2, 99]),
                "diffusion_model.blocks.0.self_attn.q.lora_up.weight": .zeros([99, 2]),
            ],
            to: other
        )
        let error = #expect(throws: SwanError.self) {
            try StreamCheckpoint(folder.path("model"), loras: [.init(other)])
        }
        #expect(error?.message.contains("self_attn.q") ?? false)
    }
}
