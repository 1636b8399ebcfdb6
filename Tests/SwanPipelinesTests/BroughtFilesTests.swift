import Foundation
import GoldenSupport
import ModelSupport
import SwanCheckpoints
import SwanMedia
import SwanSystem
import Testing
import Torch
import TorchNN

@testable import SwanPipelines

/// Models in files as people have them: in one file, quantized, in shards without an index, in a cache of
/// links, and beside files that are broken.
@Suite struct BroughtFilesTests {
    private let folder: TemporaryDirectory
    private let model: RandomCheckpoint

    init() throws {
        folder = try TemporaryDirectory()
        model = try RandomCheckpoint(.textToVideo, .comfyUI, at: folder.path("comfy"))
    }

    private var transformer: String { model.file("diffusion_models/wan_fp8_scaled.safetensors") }
    private var vae: String { model.file("vae/wan_vae.safetensors") }
    private var text: String { model.file("text_encoders/umt5_xxl.safetensors") }

    private func tensors(_ path: String, plain: Bool = false) throws -> [String: Tensor] {
        let checkpoint = try Checkpoint.open(path)
        let source = try plain ? checkpoint.inWanNames() : checkpoint
        var tensors: [String: Tensor] = [:]
        for key in source.keys {
            tensors[key] = try source.tensor(key, source.shape(key) ?? []).cloned()
        }
        return tensors
    }

    /// The pixels of a short video.
    private func pixels(_ path: String) throws -> [[UInt8]] {
        let output = folder.path("\(UUID().uuidString).mkv")
        var request = FileGenerationRequest(model: path, prompt: "a cat", output: output)
        request.options.device = "cpu"
        request.options.dtype = .float32
        request.generation.settings.size = .init(width: 32, height: 32)
        (request.generation.settings.frames, request.generation.settings.steps) = (5, 2)
        _ = try FileGeneration(request).run()
        let reader = try VideoReader(path: output)
        var pixels: [[UInt8]] = []
        while let frame = try reader.nextFrame() { pixels.append(Array(frame.pixels)) }
        return pixels
    }

    private func place(_ name: String) throws -> String {
        let path = folder.path(name)
        let parent = URL(fileURLWithPath: path).deletingLastPathComponent()
        try FileManager.default.createDirectory(at: parent, withIntermediateDirectories: true)
        return path
    }

    // MARK: - All parts in one file

    @Test(arguments: ["vae.", "first_stage_model."])
    func allPartsInOneFile(vaePrefix: String) throws {
        var all = try tensors(vae).mapKeys { vaePrefix + $0 }
        // Opening removed the prefix that ComfyUI gives transformers.
        all.merge(try tensors(transformer).mapKeys { "model.diffusion_model." + $0 }) { $1 }
        all.merge(try tensors(text).mapKeys { "text_encoders.umt5xxl.transformer." + $0 }) { $1 }
        all["text_encoders.umt5xxl.logit_scale"] = try Tensor([4.6] as [Float], [])
        let file = try place("one/all.safetensors")
        try Safetensors.write(all, to: file)
        #expect(try pixels(file) == pixels(transformer))

        let inspection = try ModelInspection(folder.path("one"))
        #expect(inspection.missing == [])
        #expect(
            inspection.parts.map(\.name) == ["transformer", "vae", "text_encoder", "tokenizer"]
        )
        let separate = try ModelInspection(model.path)
        #expect(inspection.parts.map(\.parameters) == separate.parts.map(\.parameters))
        #expect(inspection.bytes < 2 * separate.bytes)
        #expect(try ModelVerification(folder.path("one")).isSound)
    }

    @Test func partsBelowPrefixesOfTheirOwn() throws {
        let paths = ["own/vae/a.safetensors", "own/clip/b.safetensors", "own/unet/c.safetensors"]
        try Safetensors.write(
            tensors(vae).mapKeys { "first_stage_model." + $0 },
            to: place(paths[0])
        )
        try Safetensors.write(
            tensors(text).mapKeys { "cond_stage_model.umt5xxl.transformer." + $0 },
            to: place(paths[1])
        )
        var network = try tensors(transformer).mapKeys { "net._orig_mod." + $0 }
        network["ema_steps"] = try Tensor([1] as [Float], [1])
        try Safetensors.write(network, to: place(paths[2]))
        #expect(try pixels(folder.path(paths[2])) == pixels(transformer))
    }

    @Test func twoTransformersInOneFileAreNamed() throws {
        let network = try tensors(transformer)
        let both = network.mapKeys { "student." + $0 }.merging(network.mapKeys { "teacher." + $0 })
        { $1 }
        let file = try place("two/both.safetensors")
        try Safetensors.write(both, to: file)
        let error = failure { _ = try pixels(folder.path("two")) } as? SwanError
        #expect(
            error?.message.contains(#"under "student." and "teacher.""#) == true,
            "\(error as Any)"
        )
    }

    // MARK: - GGUF

    /// A transformer in GGUF, and what its weights are.
    private func writeTransformer(to path: String) throws -> [String: Tensor] {
        var builder = GGUFBuilder()
        builder.values = [("general.architecture", .text("wan"))]
        for (key, tensor) in try tensors(transformer, plain: true).sorted(by: { $0.key < $1.key }) {
            let values = try tensor.array(of: Float.self)
            let isMatrix = tensor.rank == 2 && tensor.size(1) % 32 == 0
            builder.tensors.append(
                isMatrix
                    ? .init(q8: key, tensor.shape, values) : .init(key, tensor.shape, values)
            )
        }
        try Data(builder.bytes).write(to: URL(fileURLWithPath: place(path)))
        return try tensors(folder.path(path))
    }

    /// A text encoder with llama.cpp's names, and a vocabulary.
    private func writeText(to path: String) throws -> [String: Tensor] {
        let names = [
            ("token_embedding.", "token_embd."), ("blocks.", "enc.blk."),
            ("pos_embedding.embedding.", "attn_rel_b."), ("attn.", "attn_"),
            ("norm1.", "attn_norm."), ("norm2.", "ffn_norm."), ("ffn.gate.0.", "ffn_gate."),
            ("ffn.fc1.", "ffn_up."), ("ffn.fc2.", "ffn_down."),
        ]
        var builder = GGUFBuilder()
        builder.values = try vocabulary()
        for (key, tensor) in try tensors(text, plain: true).sorted(by: { $0.key < $1.key }) {
            var name = key == "norm.weight" ? "enc.output_norm.weight" : key
            for (own, other) in names { name = name.replacing(own, with: other) }
            builder.tensors.append(.init(name, tensor.shape, try tensor.array(of: Float.self)))
        }
        builder.tensors.append(.init("dec.output_norm.weight", [4], [1, 1, 1, 1]))
        try Data(builder.bytes).write(to: URL(fileURLWithPath: place(path)))
        return try tensors(text)
    }

    /// The pieces of the model's tokenizer, as llama.cpp's converter writes them.
    private func vocabulary() throws -> [(key: String, value: GGUFBuilder.Value)] {
        let checkpoint = try Checkpoint.open(text)
        let shape = try #require(checkpoint.shape("spiece_model"))
        let bytes = try checkpoint.tensor("spiece_model", shape).array(of: UInt8.self)
        var texts: [String] = []
        var scores: [Float] = []
        var kinds: [Int32] = []
        for piece in try ProtocolFields(bytes).messages(1) {
            let fields = ProtocolFields(piece)
            texts.append(String(decoding: try fields.messages(1)[0], as: UTF8.self))
            scores.append(try fields.floats(2).first ?? 0)
            kinds.append(Int32(try fields.integers(3).first ?? 1))
        }
        return [
            ("general.architecture", .text("t5encoder")), ("tokenizer.ggml.model", .text("t5")),
            ("tokenizer.ggml.tokens", .texts(texts)), ("tokenizer.ggml.scores", .floats(scores)),
            ("tokenizer.ggml.token_type", .int32s(kinds)),
            ("tokenizer.ggml.add_space_prefix", .bool(true)),
            ("tokenizer.ggml.remove_extra_whitespaces", .bool(true)),
        ]
    }

    @Test func quantizedPartsGiveTheVideoOfTheirWeights() throws {
        let weights = try writeTransformer(to: "gguf/wan-Q8_0.gguf")
        _ = try writeText(to: "gguf/umt5-xxl-encoder-F32.gguf")
        try FileManager.default.copyItem(atPath: vae, toPath: place("gguf/vae.safetensors"))
        try Safetensors.write(weights, to: place("plain/wan.safetensors"))
        for name in ["vae.safetensors", "text.safetensors"] {
            try FileManager.default.copyItem(
                atPath: name == "vae.safetensors" ? vae : text,
                toPath: place("plain/" + name)
            )
        }
        #expect(try pixels(folder.path("gguf")) == pixels(folder.path("plain")))

        let inspection = try ModelInspection(folder.path("gguf"))
        #expect(inspection.missing == [])
        #expect(inspection.parts.first?.dtypes == ["Q8_0", "float32"])
        let verification = try ModelVerification(folder.path("gguf"))
        #expect(verification.isSound, "\(verification.lines)")
        let size = try #require(inspection.parts.first).bytes
        let plain = try #require(try ModelInspection(folder.path("plain")).parts.first).bytes
        #expect(size * 2 < plain)
    }

    @Test func convertsToSafetensors() throws {
        let weights = try writeTransformer(to: "gguf/wan-Q8_0.gguf")
        _ = try writeText(to: "gguf/umt5.gguf")
        var conversion = CheckpointConversion()
        conversion.dtype = .float32
        let file = folder.path("wan.safetensors")
        _ = try conversion(folder.path("gguf/wan-Q8_0.gguf"), to: file)
        let converted = try SafetensorsFile(path: file)
        #expect(converted.keys == weights.keys.sorted())
        for (key, tensor) in weights {
            #expect(
                try converted.tensor(key).array(of: Float.self) == tensor.array(of: Float.self),
                "\(key)"
            )
        }
        conversion.naming = .diffusers
        conversion.dtype = nil
        _ = try conversion(folder.path("gguf/umt5.gguf"), to: folder.path("text"))
        let text = try SafetensorsFile(path: folder.path("text/model.safetensors"))
        #expect(text.keys.contains("encoder.block.0.layer.0.SelfAttention.q.weight"))
        #expect(text.keys.contains("shared.weight") && !text.keys.contains { $0.hasPrefix("dec") })
    }

    // MARK: - Shards and links

    @Test func shardsNeedNoIndex() throws {
        let all = try tensors(transformer).mapKeys { "model.diffusion_model." + $0 }
        let keys = all.keys.sorted()
        let paths = try (1...3).map { try place("shards/wan-0000\($0)-of-00003.safetensors") }
        for (number, path) in paths.enumerated() {
            let part = all.filter { pair in
                keys.firstIndex(of: pair.key).map { $0 % 3 == number } ?? false
            }
            try Safetensors.write(part, to: path)
        }
        for (file, name) in [(vae, "vae"), (text, "text")] {
            try FileManager.default.copyItem(
                atPath: file,
                toPath: place("shards/\(name).safetensors")
            )
        }
        let expected = try pixels(transformer)
        #expect(try pixels(folder.path("shards")) == expected)
        #expect(try pixels(paths[1]) == expected)
        try FileManager.default.removeItem(atPath: paths[1])
        let error = failure { _ = try pixels(paths[0]) } as? SwanError
        #expect(
            error?.message.contains("its shard wan-00002-of-00003.safetensors is not in the same")
                == true,
            "\(error as Any)"
        )
    }

    @Test func aCacheOfLinksIsAModel() throws {
        let names = ["wan": transformer, "vae": vae, "text": text]
        for (name, file) in names {
            let blob = try place("models--wan--tiny/blobs/" + name)
            try FileManager.default.copyItem(atPath: file, toPath: blob)
            try FileManager.default.createSymbolicLink(
                atPath: place("models--wan--tiny/snapshots/abc/\(name).safetensors"),
                withDestinationPath: "../../blobs/" + name
            )
        }
        try Data("abc\n".utf8).write(
            to: URL(fileURLWithPath: place("models--wan--tiny/refs/main"))
        )
        let expected = try pixels(transformer)
        #expect(try pixels(folder.path("models--wan--tiny")) == expected)
        #expect(try pixels(folder.path("models--wan--tiny/snapshots/abc")) == expected)
        try FileManager.default.removeItem(atPath: folder.path("models--wan--tiny/blobs/vae"))
        let error = failure { _ = try pixels(folder.path("models--wan--tiny")) } as? SwanError
        #expect(
            error?.message.contains("is a link to a file that does not exist") == true,
            "\(error as Any)"
        )
    }

    // MARK: - Broken files

    @Test func aBrokenStrangerIsPassedOver() throws {
        let broken = model.file("diffusion_models/other-lora.safetensors")
        let bytes = try Data(contentsOf: URL(fileURLWithPath: transformer))
        try bytes.prefix(1_000).write(to: URL(fileURLWithPath: broken))
        let found = try ModelFolder(transformer)
        #expect(found.unreadable.count == 1)
        #expect(found.unreadable.first?.hasPrefix(broken + ": is cut short") == true)
        _ = try pixels(transformer)
    }

    @Test func aMissingPartIsExplained() throws {
        try Data("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n".utf8)
            .write(to: URL(fileURLWithPath: vae))
        try Data([1]).write(to: URL(fileURLWithPath: vae + ".aria2"))
        let error = failure { _ = try pixels(transformer) } as? SwanError
        let message = try #require(error?.message)
        #expect(message.contains("missing: vae"))
        #expect(message.contains("cannot be read: \(vae): is a pointer of Git LFS"))
        #expect(message.contains("wan_vae.safetensors.aria2: is a download that is not finished"))
        // A broken file that was asked for is the error itself.
        let asked = failure { _ = try pixels(vae) } as? SwanError
        #expect(
            asked?.message.hasPrefix("\(vae): is a pointer of Git LFS") == true,
            "\(asked as Any)"
        )
    }
}

extension Dictionary where Key == String {
    fileprivate func mapKeys(_ rename: (String) -> String) -> [String: Value] {
        Dictionary(uniqueKeysWithValues: map { (rename($0.key), $0.value) })
    }
}

/// The fields of a serialized protocol buffer message.
private struct ProtocolFields {
    struct Malformed: Error {}

    private let bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    func messages(_ number: Int) throws -> [[UInt8]] {
        try all().filter { $0.number == number && $0.kind == 2 }.map(\.bytes)
    }

    func floats(_ number: Int) throws -> [Float] {
        try all().filter { $0.number == number && $0.kind == 5 }.map { field in
            Float(bitPattern: field.bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) })
        }
    }

    func integers(_ number: Int) throws -> [Int] {
        try all().filter { $0.number == number && $0.kind == 0 }.map(\.value)
    }

    private func all() throws -> [(number: Int, kind: Int, value: Int, bytes: [UInt8])] {
        var fields: [(number: Int, kind: Int, value: Int, bytes: [UInt8])] = []
        var position = 0
        func varint() throws -> Int {
            var value = 0
            for shift in stride(from: 0, to: 63, by: 7) {
                guard position < bytes.count else { throw Malformed() }
                let byte = bytes[position]
                position += 1
                value |= Int(byte & 0x7F) << shift
                if byte < 0x80 { return value }
            }
            throw Malformed()
        }
        while position < bytes.count {
            let key = try varint()
            let kind = key & 7
            guard [0, 2, 5].contains(kind) else { throw Malformed() }
            let value = kind == 5 ? 4 : try varint()
            let count = kind == 0 ? 0 : value
            guard position + count <= bytes.count else { throw Malformed() }
            fields.append((key >> 3, kind, value, Array(bytes[position..<position + count])))
            position += count
        }
        return fields
    }
}
