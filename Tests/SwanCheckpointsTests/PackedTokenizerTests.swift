import Foundation
import GoldenSupport
import ModelSupport
import SwanPipelines
import SwanText
import Testing
import Torch
import TorchNN
import SwanCheckpoints

/// A tokenizer stored with the weights of a text encoder.
@Suite struct PackedTokenizerTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func checkpoint(_ tensors: [String: Tensor]) throws -> Checkpoint {
        let path = directory.path("encoder.safetensors")
        try Safetensors.write(tensors, to: path)
        return try Checkpoint.open(path)
    }

    @Test func readsThePackedTokenizer() throws {
        let model = directory.path("model")
        try TinyModel.write(to: model)
        let data = try Data(contentsOf: URL(filePath: model + "/tokenizer/spiece.model"))
        let packed = try checkpoint([
            "shared.weight": .zeros([2, 2]), "spiece_model": Tensor([UInt8](data), [data.count]),
        ])
        let tokenizer = try #require(try Tokenizer(packedIn: packed, rareText: .bytes))
        let expected = try Tokenizer(data: data, rareText: .bytes)
        #expect(try tokenizer.tokens(of: "a cat") == expected.tokens(of: "a cat"))
    }

    @Test func handlesMissingAndDamagedTokenizers() throws {
        #expect(try Tokenizer(packedIn: checkpoint(["a": .zeros([1])]))?.padID == nil)
        for damaged in [try Tensor([1, 2, 3] as [UInt8], [3]), try Tensor.zeros([3])] {
            let packed = try checkpoint(["spiece_model": damaged])
            let text = failure { _ = try Tokenizer(packedIn: packed) }.map { "\($0)" } ?? ""
            #expect(text.contains("spiece_model"))
        }
    }
}
