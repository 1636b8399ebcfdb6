import Foundation
import GoldenSupport
import Testing
import Torch
import TorchNN

/// Layers that keep their weights in the stored dtype.
@Suite struct StorageTests {
    private let generator: Generator

    init() throws { generator = try Generator(seed: 31) }

    private func source(_ dtype: DType) throws -> [String: Tensor] {
        var tensors: [String: Tensor] = [:]
        for name in ["q", "k", "v"] {
            tensors[name + ".weight"] = try Tensor.randn([6, 8], generator).to(dtype)
            tensors[name + ".bias"] = try Tensor.randn([6], generator).to(dtype)
        }
        return tensors
    }

    @Test(arguments: [DType.bfloat16, .float16, .float8e4m3, .float8e5m2, .float32])
    func storedWeightsGiveTheResultOfConvertedOnes(_ dtype: DType) throws {
        let source = DictionaryWeights(try source(dtype))
        let (kept, converted) = (Weights(source, keepsStorage: true), Weights(source))
        let x = try Tensor.randn([2, 5, 8], generator)
        try expectClose(
            Linear(kept["q"], 8, 6)(x),
            Linear(converted["q"], 8, 6)(x),
            relative: 0,
            absolute: 0
        )
        let parts = ["q", "k", "v"]
        for bias in [true, false] {
            let apart = try Linear(fusing: parts.map { kept[$0] }, 8, 6, bias: bias)(x)
            let fused = try Linear(fusing: parts.map { converted[$0] }, 8, 6, bias: bias)(x)
            #expect(apart.dtype == .float32)
            try expectClose(apart, fused, relative: 1e-5)
        }
        try kept.finish()
    }

    /// Writing to the memory after creating the layer changes the results only if the memory was not
    /// copied.
    @Test(arguments: [DType.bfloat16, .float8e4m3])
    func doesNotCopyMatrices(_ dtype: DType) throws {
        var tensors = try source(dtype)
        let kept = Weights(DictionaryWeights(tensors), keepsStorage: true)
        let one = try Linear(kept["q"], 8, 6, bias: false)
        let fused = try Linear(fusing: ["q", "k"].map { kept[$0] }, 8, 6, bias: false)
        let table = try Embedding(kept["q"], 6, 8)
        for key in ["q.weight", "k.weight"] {
            try tensors[key]?.copy(from: Tensor.ones([6, 8]))
        }
        let x = try Tensor.ones([1, 8])
        #expect(try one(x).array() == Array(repeating: Float(8), count: 6))
        #expect(try fused(x).array() == Array(repeating: Float(8), count: 12))
        let rows = try table(Tensor([5, 0], [2]))
        #expect(rows.dtype == .float32)
        #expect(try rows.array() == Array(repeating: Float(1), count: 16))
    }

    @Test func convertsEverythingExceptMatrices() throws {
        let source = DictionaryWeights(try source(.bfloat16))
        let kept = Weights(source, dtype: .float64, keepsStorage: true)
        #expect(try kept["q"].tensor("weight", [6, 8]).dtype == .float64)
        #expect(kept["q"].converted(to: .float32).keepsStorage)
        // The dtype of the inputs determines the dtype of the computation.
        let x = try Tensor.randn([1, 8], generator).to(.float64)
        #expect(try Linear(kept["q"], 8, 6)(x).dtype == .float64)
    }

    @Test func reportsMismatchedShapes() throws {
        let kept = Weights(DictionaryWeights(try source(.bfloat16)), keepsStorage: true)
        _ = try Linear(kept["q"], 8, 7)
        _ = try Embedding(kept["absent"], 3, 2)
        let text = failure { try kept.finish() }.map { "\($0)" } ?? ""
        #expect(text.contains("q.weight is [6, 8], the model needs [7, 8]"))
        #expect(text.contains("absent.weight [3, 2]"))
    }

    /// Both ways ComfyUI stores scale factors, and its marker tensors.
    @Test(arguments: [
        ["scale_weight", "scale_input", "scaled_fp8"], ["weight_scale", "input_scale"],
    ])
    func appliesScaleFactors(_ names: [String]) throws {
        for shape in [[], [1], [6], [6, 1]] {
            var tensors = try source(.float8e4m3)
            let factor = try Tensor.rand(shape, generator) + 0.5
            tensors["q." + names[0]] = factor
            tensors["q." + names[1]] = try Tensor.ones([1])
            if names.count > 2 { tensors[names[2]] = try Tensor.zeros([0]).to(.float8e4m3) }
            tensors["q.comfy_quant"] = try Tensor(Array(#"{"format":"float8_e4m3fn"}"#.utf8), [26])
            let plain = DictionaryWeights(tensors)
            let scaled = try #require(try ScaledWeights(plain))
            #expect(scaled.keys == ["k", "q", "v"].flatMap { ["\($0).bias", "\($0).weight"] })
            let column = try factor.count == 1 ? factor.reshaped([]) : factor.reshaped(6, 1)
            let expected = try plain.tensor("q.weight", [6, 8]).to(.float32) * column
            try expectClose(scaled.tensor("q.weight", [6, 8]), expected, relative: 1e-6)
            #expect(try scaled.tensor("k.weight", [6, 8]).dtype == .float8e4m3)
            let x = try Tensor.randn([3, 8], generator)
            for keeps in [true, false] {
                let weights = Weights(scaled, keepsStorage: keeps)
                try expectClose(
                    Linear(weights["q"], 8, 6, bias: false)(x),
                    matmul(x, expected.transposed(0, 1)),
                    relative: 1e-5
                )
                try expectClose(
                    Embedding(weights["q"], 6, 8)(Tensor([4, 1, 4], [3])),
                    expected.indexSelected(0, Tensor([4, 1, 4], [3])),
                    relative: 1e-6
                )
            }
        }
    }

    @Test func refusesInapplicableScaleFactors() throws {
        let plain = try source(.float8e4m3)
        #expect(try ScaledWeights(DictionaryWeights(plain))?.keys == nil)
        var tensors = plain
        tensors["q.weight_scale"] = try Tensor.ones([3, 2])
        let blocks = try #require(try ScaledWeights(DictionaryWeights(tensors)))
        let message = failure { _ = try blocks.tensor("q.weight", [6, 8]) }.map { "\($0)" }
        #expect(message?.contains("q.weight_scale is [3, 2] for a weight of [6, 8]") == true)
        tensors["q.comfy_quant"] = try Tensor(Array(#"{"format":"nvfp4"}"#.utf8), [18])
        let format = failure { _ = try ScaledWeights(DictionaryWeights(tensors)) }
        #expect(format.map { "\($0)" }?.contains("the format nvfp4 cannot be read") == true)
    }
}
