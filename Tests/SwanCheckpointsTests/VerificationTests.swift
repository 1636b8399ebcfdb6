import Foundation
import GoldenSupport
import ModelSupport
import SwanCheckpoints
import SwanMedia
import SwanPipelines
import SwanSystem
import Testing
import Torch
import TorchNN

@Suite struct VerificationTests {
    private let directory: TemporaryDirectory
    private let model: String

    init() throws {
        directory = try TemporaryDirectory()
        model = directory.path("model")
        try TinyModel.write(to: model)
    }

    /// Rewrites a part's weights.
    private func change(
        _ part: String,
        _ body: (inout [String: Tensor]) throws -> Void
    ) throws {
        let name = part == "text_encoder" ? "model" : "diffusion_pytorch_model"
        let path = "\(model)/\(part)/\(name).safetensors"
        let file = try SafetensorsFile(path: path)
        var tensors: [String: Tensor] = [:]
        for key in file.keys { tensors[key] = try file.tensor(key).cloned() }
        try body(&tensors)
        try Safetensors.write(tensors, to: path)
    }

    private func problems(_ part: String) throws -> [String] {
        let verification = try ModelVerification(model)
        let found = try #require(verification.parts.first { $0.name == part })
        #expect(found.problems.isEmpty == verification.isSound)
        return found.problems
    }

    @Test func aCompleteModelIsSound() throws {
        var names: [String] = []
        let verification = try ModelVerification(model) { names.append($0) }
        #expect(verification.isSound)
        #expect(names == ["transformer", "vae", "text_encoder", "tokenizer"])
        #expect(verification.parts.map(\.name) == names)
        for part in verification.parts {
            #expect(part.files.count == 1)
            #expect(part.files.allSatisfy { $0.sha256.count == 64 && $0.bytes > 0 })
        }
        #expect(verification.lines.last == "  sound")
    }

    @Test func checksumsMatchTheFiles() throws {
        let path = try directory.file("abc", text: "abc")
        #expect(
            try FileDigest.sha256(path)
                == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        )
        let empty = try directory.file("empty", [])
        #expect(try FileDigest.sha256(empty).hasPrefix("e3b0c44298fc1c149afbf4c8996fb924"))
        #expect(throws: SwanError.self) { try FileDigest.sha256(directory.path("nothing")) }
    }

    @Test func namesTensorsWithNonFiniteValues() throws {
        let keys = ["blocks.0.ffn.0.weight", "blocks.1.self_attn.q.bias"]
        try change("transformer") { tensors in
            try tensors[keys[0]]?.narrowed(0, 1, 1).narrowed(1, 2, 1).fillWith(.nan)
            try tensors[keys[1]]?.narrowed(0, 0, 1).fillWith(-.infinity)
        }
        let found = try problems("transformer")
        #expect(found == keys.map { "not finite (NaN or infinite): \($0)" })
    }

    /// The index selects one copy, but the files still contradict each other.
    @Test func namesAWeightInTwoShards() throws {
        let name = model + "/transformer/diffusion_pytorch_model"
        let keys = try SafetensorsFile(path: name + ".safetensors").keys
        let key = try #require(keys.first)
        let whole = model + "/transformer/a.safetensors"
        try FileManager.default.moveItem(atPath: name + ".safetensors", toPath: whole)
        let tensor = try SafetensorsFile(path: whole).tensor(key)
        try Safetensors.write([key: tensor], to: model + "/transformer/b.safetensors")
        for twice in [false, true] {
            var shards = Dictionary(uniqueKeysWithValues: keys.map { ($0, "a.safetensors") })
            if twice { shards[key] = "b.safetensors" }
            let index = try JSONSerialization.data(withJSONObject: ["weight_map": shards])
            try index.write(to: URL(fileURLWithPath: name + ".safetensors.index.json"))
            #expect(
                try problems("transformer")
                    == (twice
                        ? [
                            "\(key): is also in a.safetensors; the index takes it from b.safetensors"
                        ] : [])
            )
        }
    }

    /// Verification reports what a run would refuse.
    @Test(arguments: [
        ("fps: 16", "fps: .nan", "fps is nan"), ("height: 32", "height: 40", "multiples of 16"),
        ("noise_scale: 0.4", "noise_scal: 0.4", "did you mean 'noise_scale'"),
        ("num_kv_cache: 3", "num_kv_cache: 1", "num_kv_cache"),
    ])
    func checksTheStreamConfiguration(found: String, replaced: String, words: String) throws {
        let path = model + "/stream.yaml"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        try text.replacing(found, with: replaced)
            .write(toFile: path, atomically: true, encoding: .utf8)
        let problems = try ModelVerification(model).problems.joined()
        #expect(problems.contains(words), "\(problems)")
    }

    @Test(arguments: [
        ("text_encoder", "\"relative_attention_max_distance\" : 128", "2", "max_distance"),
        ("transformer", "\"text_len\" : 24", "1000000000000", "text_len is 1000000000000"),
        ("transformer", "\"num_heads\" : 2", "7", "7 heads"),
        ("vae", "\"attn_scales\" : [\n\n  ]", "[7]", "attn_scales is 7"),
        ("vae", "\"latents_std\" : [", "[1e-30,", "latents_std is 1e-30"),
        ("vae", "\"latents_mean\" : [", "[-1e30,", "latents_mean is -1e+30"),
        ("transformer", "\"eps\" : 1e-06", "0", "eps is 0.0"),
    ])
    func checksValuesOfConfigurations(
        part: String,
        field: String,
        value: String,
        words: String
    ) throws {
        let path = "\(model)/\(part)/config.json"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        let key = try #require(field.split(separator: " ").first)
        let changed = text.replacing(field, with: "\(key): \(value)")
        #expect(changed != text, "\(text)")
        try changed.write(toFile: path, atomically: true, encoding: .utf8)
        let found = try problems(part).joined()
        #expect(found.contains(words), "\(found)")
        #expect(found.components(separatedBy: path).count == 2, "named once: \(found)")
    }

    @Test func namesAnotherKindOfModel() throws {
        let path = model + "/transformer/config.json"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        let other = text.replacing(
            "{",
            with: "{ \"_class_name\": \"UNet2DConditionModel\",",
            maxReplacements: 1
        )
        try other.write(toFile: path, atomically: true, encoding: .utf8)
        let found = try problems("transformer").joined()
        #expect(found.contains("another kind of model: UNet2DConditionModel"), "\(found)")
    }

    /// A broken or circular link does not count as a missing file.
    @Test(arguments: ["nowhere", "stream.yaml"])
    func namesAStreamConfigurationThatCannotBeOpened(target: String) throws {
        let path = model + "/stream.yaml"
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: target)
        let problems = try ModelVerification(model).problems.joined()
        #expect(problems.contains("stream.yaml"), "\(problems)")
    }

    /// A sparse file of eight terabytes is not read for its checksum.
    @Test func skipsChecksumsOfFilesThatDoNotOpen() throws {
        let path = model + "/vae/diffusion_pytorch_model.safetensors"
        #expect(truncate(path, 8 << 40) == 0)
        let verification = try ModelVerification(model)
        let part = try #require(verification.parts.first { $0.name == "vae" })
        #expect(part.files.isEmpty && !part.problems.isEmpty)
    }

    @Test func namesKeysThatDoNotFit() throws {
        try change("vae") { tensors in
            tensors["decoder.extra"] = try .zeros([1])
            tensors["encoder.conv1.bias"] = nil
        }
        let text = try problems("vae").joined()
        #expect(text.contains("1 missing:\n  encoder.conv1.bias"))
        #expect(text.contains("1 unused:\n  decoder.extra"))
    }

    @Test func namesFilesThatDoNotOpen() throws {
        let encoder = model + "/text_encoder/model.safetensors"
        let bytes = try Data(contentsOf: URL(filePath: encoder))
        try bytes.dropLast(10).write(to: URL(filePath: encoder))
        try Data("text".utf8).write(to: URL(filePath: model + "/tokenizer/spiece.model"))
        let verification = try ModelVerification(model)
        #expect(!verification.isSound)
        for name in ["text_encoder", "tokenizer"] {
            let part = try #require(verification.parts.first { $0.name == name })
            #expect(part.problems.count == 1)
            #expect(part.files.count == 1)
        }
        #expect(verification.lines.contains { $0.hasPrefix("    PROBLEM: ") })
        #expect(verification.lines.last == "  NOT SOUND")
    }

    @Test func namesMissingAndMismatchedParts() throws {
        try FileManager.default.removeItem(atPath: model + "/vae")
        try change("text_encoder") { tensors in
            let table = try #require(tensors["token_embedding.weight"])
            tensors["token_embedding.weight"] = try table.narrowed(0, 0, 20).cloned()
        }
        let path = model + "/text_encoder/config.json"
        let config = try String(contentsOfFile: path, encoding: .utf8)
            .replacing(/"vocab_size" : \d+/, with: "\"vocab_size\" : 20")
        try Data(config.utf8).write(to: URL(filePath: path))
        let verification = try ModelVerification(model)
        #expect(verification.problems.count == 2)
        #expect(verification.problems.first?.hasPrefix("missing: vae") == true)
        #expect(verification.problems.last?.contains("embedding has only 20") == true)
    }
}

extension Tensor {
    /// Sets every element of a view.
    fileprivate func fillWith(_ value: Double) throws {
        var view = self
        try view.fill(with: value)
    }
}
