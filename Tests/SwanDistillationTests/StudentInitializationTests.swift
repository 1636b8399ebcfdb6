import Foundation
import SwanModels
import SwanSystem
import Testing
import Torch
import TorchNN

@testable import SwanDistillation

/// A student's first weights, by hand.
struct StudentInitializationTests {
    private static let layers = 5

    /// A teacher of width 12 with 5 blocks.
    private static func teacher() throws -> [String: Tensor] {
        let random = try Generator(seed: 2)
        var tensors: [String: Tensor] = [:]
        for block in 0..<layers {
            for letter in ["q", "k", "v", "o"] {
                let key = "blocks.\(block).self_attn.\(letter)"
                tensors[key + ".weight"] = try .randn([12, 12], random)
                tensors[key + ".bias"] = try .randn([12], random)
            }
            for (key, shape) in [("ffn.0", [48, 12]), ("ffn.2", [12, 48])] {
                tensors["blocks.\(block).\(key).weight"] = try .randn(shape, random)
                tensors["blocks.\(block).\(key).bias"] = try .randn([shape[0]], random)
            }
        }
        tensors["text_embedding.0.weight"] = try .randn([12, 10], random)
        tensors["text_embedding.0.bias"] = try .randn([12], random)
        tensors["time_embedding.2.weight"] = try .randn([12, 12], random)
        tensors["patch_embedding.weight"] = try .randn([12, 16, 1, 2, 2], random)
        return tensors
    }

    private static func first(
        _ projection: StudentSettings.Projection,
        isParity: Bool = false
    ) throws -> (weights: [String: Tensor], teacher: [String: Tensor]) {
        var config = LiteStudentConfig()
        (config.hiddenSize, config.depth, config.heads, config.channels) = (8, 3, 2, 16)
        config.textDim = 10
        let teacher = try teacher()
        let initialization = StudentInitialization(
            config: config,
            latentChannels: 16,
            projection: projection,
            isParity: isParity,
            seed: 1,
            outputCount: 1
        )
        let weights = try initialization.weights(from: DictionaryWeights(teacher), layers: layers)
        return (weights, teacher)
    }

    /// Block i takes from block ⌊i · 5 / 3⌋: 0, 1, 3.
    private static let sources = [0, 1, 3]
    private static let scale = (12.0 / 8).squareRoot()

    @Test func truncatesEachOfQueriesKeysAndValues() throws {
        let (weights, teacher) = try Self.first(.truncate)
        for (block, source) in Self.sources.enumerated() {
            let joined = try #require(weights["student.blocks.\(block).attn.in_proj_weight"])
            let biases = try #require(weights["student.blocks.\(block).attn.in_proj_bias"])
            for (place, letter) in ["q", "k", "v"].enumerated() {
                let key = "blocks.\(source).self_attn.\(letter)"
                let own = try #require(teacher[key + ".weight"])
                try expectEqual(
                    joined.narrowed(0, 8 * place, 8),
                    own.narrowed(0, 0, 8).narrowed(1, 0, 8) * Self.scale
                )
                try expectEqual(
                    biases.narrowed(0, 8 * place, 8),
                    #require(teacher[key + ".bias"]).narrowed(0, 0, 8)
                )
            }
            let fc2 = try #require(teacher["blocks.\(source).ffn.2.weight"])
            try expectEqual(
                #require(weights["student.blocks.\(block).mlp.2.weight"]),
                fc2.narrowed(0, 0, 8).narrowed(1, 0, 32) * (48.0 / 32).squareRoot()
            )
        }
        // Embeddings where shapes allow: 10 inputs are not cut, 12 are fewer than 32.
        try expectEqual(
            #require(weights["student.text_proj.weight"]),
            #require(teacher["text_embedding.0.weight"]).narrowed(0, 0, 8)
        )
        let random = try Self.first(.none).weights
        for key in ["time_embed.2.weight", "conv_in.weight", "blocks.1.norm1.weight"] {
            try expectEqual(
                #require(weights["student." + key]),
                #require(random["student." + key])
            )
        }
    }

    /// As published: the joined matrix is cut, so that rows of queries and keys alone arrive.
    @Test func publishedCutsAfterJoining() throws {
        let (weights, teacher) = try Self.first(.truncate, isParity: true)
        let source = "blocks.3.self_attn."
        let joined = try concatenated(
            ["q", "k", "v"].map { try #require(teacher[source + $0 + ".weight"]) }
        )
        try expectEqual(
            #require(weights["student.blocks.2.attn.in_proj_weight"]),
            joined.narrowed(0, 0, 24).narrowed(1, 0, 8) * Self.scale
        )
        let random = try Self.first(.none, isParity: true).weights
        try expectEqual(
            #require(weights["student.text_proj.weight"]),
            #require(random["student.text_proj.weight"])
        )
    }

    @Test func averagesNeighboringColumns() throws {
        let (weights, teacher) = try Self.first(.average)
        let o = try #require(teacher["blocks.0.self_attn.o.weight"])
        // Groups of one column, the last one of five.
        let columns =
            try (0..<7).map { try o.narrowed(1, $0, 1) }
            + [o.narrowed(1, 7, 5).mean([1], keepDim: true)]
        try expectEqual(
            #require(weights["student.blocks.0.attn.out_proj.weight"]),
            concatenated(columns, dim: 1).narrowed(0, 0, 8)
        )
    }

    /// The rest of a best approximation is orthogonal to it.
    @Test func approximatesByRank() throws {
        let (weights, teacher) = try Self.first(.svd)
        let o = try #require(teacher["blocks.1.self_attn.o.weight"]).to(.float64)
        let (values, vectors) = try matmul(o, o.transposed(0, 1)).symmetricEigen()
        // By left singular vectors, where the code takes right ones: U Uᵀ W.
        let u = try vectors.narrowed(1, 4, 8)
        let best = try matmul(u, matmul(u.transposed(0, 1), o))
        let found = try #require(weights["student.blocks.1.attn.out_proj.weight"]).to(.float64)
        let difference = try (found - best.narrowed(0, 0, 8).narrowed(1, 0, 8)).abs().max().item()
        #expect(difference < 1e-5)
        #expect(values.shape == [12])
    }

    @Test func liftsHaveOrthonormalColumns() throws {
        var config = LiteStudentConfig()
        (config.hiddenSize, config.depth, config.heads, config.channels) = (8, 1, 2, 4)
        func initialization(_ channels: Int, isParity: Bool) -> StudentInitialization {
            var config = config
            config.channels = channels
            return StudentInitialization(
                config: config,
                latentChannels: 16,
                projection: .none,
                isParity: isParity,
                seed: 3,
                outputCount: 1
            )
        }
        let lift = try #require(try initialization(4, isParity: false).lift())
        let product = try matmul(lift.transposed(0, 1), lift)
        let identity = try Tensor((0..<16).map { $0 % 5 == 0 ? Float(1) : 0 }, [4, 4])
        #expect(try (product - identity).abs().max().item() < 1e-6)
        #expect(try initialization(16, isParity: false).lift() == nil)
        #expect(try initialization(4, isParity: true).lift() == nil)
        let error = #expect(throws: SwanError.self) {
            try initialization(20, isParity: false).lift()
        }
        #expect(error?.message.contains("num_channels is 20") ?? false)
    }

    private func expectEqual(
        _ a: Tensor,
        _ b: Tensor,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        #expect(a.shape == b.shape, sourceLocation: sourceLocation)
        let difference = try (a - b).abs().max().item()
        #expect(difference == 0, sourceLocation: sourceLocation)
    }
}
