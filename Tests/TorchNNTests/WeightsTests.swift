import GoldenSupport
import Testing
import Torch
import TorchNN
import SwanSystem

struct WeightsTests {
    private let source: DictionaryWeights

    init() throws {
        source = DictionaryWeights([
            "blocks.0.q.weight": try Tensor.ones([3, 2]),
            "blocks.0.q.bias": try Tensor.ones([3]),
            "blocks.1.q.weight": try Tensor.ones([2, 3]),
            "norm.weight": try Tensor.ones([3]),
            "ids": try Tensor.zeros([2], .int64),
        ])
    }

    @Test func oneErrorListsAllProblems() throws {
        let weights = Weights(source)
        _ = try Linear(weights["blocks"][0]["q"], 2, 3)
        _ = try Linear(weights["blocks"][1]["q"], 2, 3)
        let error = #expect(throws: SwanError.self) { try weights.finish() }
        #expect(error?.code == .invalidWeights)
        #expect(
            error?.message == """
                the weights do not fit the model
                1 missing:
                  blocks.1.q.bias [3]
                1 wrong shape:
                  blocks.1.q.weight is [2, 3], the model needs [3, 2]
                2 unused:
                  ids
                  norm.weight
                """
        )
    }

    @Test func acceptsMatchingWeights() throws {
        let weights = Weights(source)
        _ = try Linear(weights["blocks"][0]["q"], 2, 3)
        _ = try weights["blocks"][1]["q"].tensor("weight", [2, 3])
        try weights.finish { ["norm.weight", "ids"].contains($0) }
        #expect(throws: SwanError.self) { try weights.finish() }
        // Below a path, only the weights under it must be used.
        try weights["blocks"].finish()
    }

    @Test func truncatesLongLists() throws {
        let weights = Weights(DictionaryWeights([:]))
        for index in 0..<20 { _ = try weights["layer"][index].tensor("weight", [1]) }
        let error = #expect(throws: SwanError.self) { try weights.finish() }
        #expect(error?.message.contains("20 missing:") == true)
        #expect(error?.message.hasSuffix("  and 8 more") == true)
    }

    @Test func refusesIntegerWeights() throws {
        let weights = Weights(source)
        _ = try weights.tensor("ids", [2])
        let error = #expect(throws: SwanError.self) { try weights.finish { $0 != "ids" } }
        #expect(
            error?.message.contains(
                """
                1 wrong dtype:
                  ids is int64, the model needs floating-point numbers
                """
            ) == true
        )
    }

    @Test func convertsDTypes() throws {
        let weights = Weights(source, dtype: .bfloat16)
        #expect(try weights.tensor("norm.weight", [3]).dtype == .bfloat16)
        let converted = weights.converted(to: .float64)
        #expect(converted.dtype == .float64)
        #expect(try converted["norm"].tensor("weight", [3]).dtype == .float64)
        #expect(weights["blocks"][0].path == "blocks.0")
        #expect(try weights["blocks"][0]["q"].has("bias"))
        #expect(try !weights["blocks"][1]["q"].has("bias"))
    }

    @Test func makesAnyRequestedWeight() throws {
        let source = try MadeWeights.random(seed: 4)
        let weights = Weights(source)
        let layer = try Linear(weights["q"], 64, 32)
        _ = try weights["norm"].tensor("weight", [8])
        try weights.finish()
        #expect(source.tensors.keys.sorted() == ["norm.weight", "q.bias", "q.weight"])
        #expect(try layer(.zeros([1, 64])).abs().max().item() == 0)
        let matrix = try #require(source.tensors["q.weight"])
        #expect(try abs(matrix.norm().item() / 32.0.squareRoot() - 1) < 0.1)
        #expect(try source.tensors["norm.weight"]?.min().item() == 1)
        // A key always gives the same tensor; requesting another shape for it is an error.
        try expectClose(weights["q"].tensor("weight", [32, 64]), matrix, relative: 0, absolute: 0)
        _ = try weights["q"].tensor("weight", [64, 32])
        #expect(throws: SwanError.self) { try weights.finish() }
        let again = Weights(try MadeWeights.random(seed: 4))
        try expectClose(again["q"].tensor("weight", [32, 64]), matrix, relative: 0, absolute: 0)
    }
}
