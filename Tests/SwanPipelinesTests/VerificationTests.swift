import Foundation
import GoldenSupport
import ModelSupport
import SwanMedia
import SwanPipelines
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

    @Test func aWholeModelIsSound() throws {
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

    @Test func checksumsAreThoseOfTheFiles() throws {
        let path = try directory.file("abc", text: "abc")
        #expect(
            try FileDigest.sha256(path)
                == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        )
        let empty = try directory.file("empty", [])
        #expect(try FileDigest.sha256(empty).hasPrefix("e3b0c44298fc1c149afbf4c8996fb924"))
        #expect(throws: MediaError.self) { try FileDigest.sha256(directory.path("nothing")) }
    }

    @Test func everyNumberThatIsNoneIsNamed() throws {
        let keys = ["blocks.0.ffn.0.weight", "blocks.1.self_attn.q.bias"]
        try change("transformer") { tensors in
            try tensors[keys[0]]?.narrowed(0, 1, 1).narrowed(1, 2, 1).fillWith(.nan)
            try tensors[keys[1]]?.narrowed(0, 0, 1).fillWith(-.infinity)
        }
        let found = try problems("transformer")
        #expect(found == keys.map { "not finite (NaN or infinite): \($0)" })
    }

    @Test func keysThatDoNotFitAreNamed() throws {
        try change("vae") { tensors in
            tensors["decoder.extra"] = try .zeros([1])
            tensors["encoder.conv1.bias"] = nil
        }
        let text = try problems("vae").joined()
        #expect(text.contains("1 missing:\n  encoder.conv1.bias"))
        #expect(text.contains("1 unused:\n  decoder.extra"))
    }

    @Test func filesThatDoNotOpenAreNamed() throws {
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

    @Test func partsThatDoNotFitEachOtherOrAreMissing() throws {
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
        #expect(verification.problems.last?.contains("the text encoder's embedding 20") == true)
    }
}

extension Tensor {
    /// Sets every element of a view.
    fileprivate func fillWith(_ value: Double) throws {
        var view = self
        try view.fill(with: value)
    }
}
