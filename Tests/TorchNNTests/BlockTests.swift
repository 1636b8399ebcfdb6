import Foundation
import GoldenSupport
import SwanSystem
import Testing
import Torch
import TorchNN

/// Layers over weights in blocks, and over integers with a factor for each row.
@Suite struct BlockTests {
    private let checkpoint: Checkpoint

    init() throws { checkpoint = try Checkpoint.open(Golden.path("gguf_formats.gguf")) }

    private func weights(_ key: String, keepsStorage: Bool) throws -> Weights {
        let source = try RenamedWeights(checkpoint) { $0 == key ? "weight" : nil }
        return Weights(source, keepsStorage: keepsStorage)
    }

    @Test(arguments: ["Q4_K", "Q8_0", "Q6_K", "BF16"])
    func layersGiveTheResultOfConvertedWeights(key: String) throws {
        let kept = try weights(key, keepsStorage: true)
        let converted = try weights(key, keepsStorage: false)
        let x = try Tensor.randn([2, 512], Generator(seed: 5))
        try expectClose(
            Linear(kept, 512, 3, bias: false)(x),
            Linear(converted, 512, 3, bias: false)(x),
            relative: 0,
            absolute: 0
        )
        let ids = try Tensor([2, 0, 2, 1], [2, 2])
        let rows = try Embedding(kept, 3, 512)(ids)
        #expect(rows.shape == [2, 2, 512])
        #expect(
            try rows.array(of: Float.self)
                == (try Embedding(converted, 3, 512)(ids).array(of: Float.self))
        )
        try kept.finish()
    }

    /// Rows that are not whole blocks, as a converter leaves them.
    @Test func rowsNeedNotBeWholeBlocks() throws {
        let stored = try checkpoint.stored("narrow", [16, 48])
        #expect(stored.packing?.shape == [16, 48] && stored.values.shape == [24, 34])
        let whole = try stored.weight(.float32)
        let table = try Embedding(weights("narrow", keepsStorage: true), 16, 48)
        #expect(
            try table(Tensor([3], [1])).array(of: Float.self)
                == (try whole.narrowed(0, 3, 1).array(of: Float.self))
        )
        let part = try stored.rows(3, 2)
        #expect(
            try part.weight(.float32).array(of: Float.self)
                == (try whole.narrowed(0, 3, 2).array(of: Float.self))
        )
        let blocks = try checkpoint.stored("Q4_K", [3, 512])
        let rows = try blocks.rows(1, 2)
        #expect(rows.packing?.shape == [2, 512])
        #expect(
            try rows.weight(.float32).array(of: Float.self)
                == (try blocks.weight(.float32).narrowed(0, 1, 2).array(of: Float.self))
        )
    }

    @Test func keepsWeightsInTheirBlocks() throws {
        let stored = try checkpoint.stored("Q4_K", [3, 512])
        #expect(stored.values.byteCount == 3 * 2 * 144 && stored.dtype == .float32)
        #expect(checkpoint.storage("Q4_K") == "Q4_K" && checkpoint.storage("F16") == "float16")
        #expect(checkpoint.byteCount("Q4_K") == 864 && checkpoint.byteCount("F16") == 3_072)
        #expect(try checkpoint.tensor("Q4_K", [], for: .bfloat16).dtype == .bfloat16)
        #expect(try checkpoint.notFinite() == [])
    }

    @Test func findsScalesThatAreNotFinite() throws {
        let directory = try TemporaryDirectory()
        var builder = GGUFBuilder()
        var block = [UInt8](repeating: 1, count: 34)
        // Infinity in float16.
        (block[0], block[1]) = (0, 0x7C)
        builder.tensors = [.init("good", [1], [1]), .init("bad.weight", [1, 32], type: 8, block)]
        let broken = try Checkpoint.open(directory.file("a.gguf", builder.bytes))
        #expect(try broken.notFinite() == ["bad.weight"])
    }

    @Test(arguments: [true, false])
    func integersWithAFactorForEachRowAreWeights(keepsStorage: Bool) throws {
        let values = try Tensor([1, -2, 3, 4, 5, -128] as [Int8], [2, 3])
        let tensors = [
            "weight": values, "weight_scale": try Tensor([0.5, 2] as [Float], [2, 1]),
        ]
        let source = try #require(try ScaledWeights(DictionaryWeights(tensors)))
        let layer = try Linear(
            Weights(source, keepsStorage: keepsStorage),
            3,
            2,
            bias: false
        )
        #expect(try layer(Tensor([1, 1, 1] as [Float], [1, 3])).array() == [1, -238] as [Float])
        // Without factors they are not.
        let plain = Weights(DictionaryWeights(["weight": values]), keepsStorage: keepsStorage)
        _ = try Linear(plain, 3, 2, bias: false)
        #expect(throws: SwanError.self) { try plain.finish() }
    }

    @Test(arguments: ["a.weight.quant_state.bitsandbytes__nf4", "a.wscales", "a.qzeros"])
    func otherQuantizationsAreNamed(key: String) throws {
        let tensors = ["a.weight": try Tensor.zeros([2]), key: try Tensor.zeros([2])]
        let error = failure { _ = try ScaledWeights(DictionaryWeights(tensors)) } as? SwanError
        #expect(error?.code == .invalidWeights)
        #expect(error?.message.contains("use a file in GGUF") == true)
    }
}
