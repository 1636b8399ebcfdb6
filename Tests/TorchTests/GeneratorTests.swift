import GoldenSupport
import Testing
import Torch
import SwanSystem

/// Compares with `torch.Generator` on the CPU (Goldens/generator).
struct GeneratorTests {
    private struct Config: Decodable {
        let seeds: [UInt64]
        let sizes: [Int]
    }

    private let golden: Golden
    private let config: Config

    init() throws {
        golden = try Golden("generator")
        config = try golden.config()
    }

    @Test func normals() throws {
        let tolerance = try golden.tolerance
        for seed in config.seeds {
            for size in config.sizes {
                try expectClose(
                    .randn([size], Generator(seed: seed)),
                    golden.output("randn_\(seed)_\(size)"),
                    within: tolerance,
                    "seed \(seed), \(size)"
                )
            }
            try expectClose(
                .randn([33], Generator(seed: seed), .float64),
                golden.output("randn_float64_\(seed)"),
                within: tolerance
            )
            try expectClose(
                .randn([33], Generator(seed: seed), .bfloat16),
                golden.output("randn_bfloat16_\(seed)"),
                relative: 0.005,
                absolute: 0
            )
        }
        try expectClose(
            .randn([1_000], Generator(seed: 42)),
            golden.output("randn_42_1000"),
            within: tolerance
        )
    }

    @Test func uniforms() throws {
        for seed in config.seeds {
            let floats: [Float] = try Tensor.rand([33], Generator(seed: seed)).array()
            #expect(try floats == golden.output("rand_\(seed)").array())
            let integers = try Tensor.randint(0..<1_000, [33], Generator(seed: seed))
            #expect(try integers.array(of: Int.self) == golden.output("randint_\(seed)").array())
        }
    }

    @Test func consecutiveDrawsContinueTheSequence() throws {
        for seed in config.seeds {
            let generator = try Generator(seed: seed)
            let drawn = try [
                Tensor.randn([15], generator), .rand([3], generator), .randn([17], generator),
            ]
            try expectClose(
                concatenated(drawn),
                golden.output("sequence_\(seed)"),
                within: golden.tolerance
            )
        }
    }

    @Test func sameSeedSameBytes() throws {
        let first: [Float] = try Tensor.randn([1_001], Generator(seed: 7)).array()
        let again: [Float] = try Tensor.randn([1_001], Generator(seed: 7)).array()
        let other: [Float] = try Tensor.randn([1_001], Generator(seed: 8)).array()
        #expect(first.map(\.bitPattern) == again.map(\.bitPattern))
        #expect(first != other)
    }

    @Test func restoredStatesRepeatTheSequence() throws {
        let generator = try Generator(seed: 9)
        _ = try Tensor.randn([15], generator)
        let state = try generator.state()
        let first: [Float] = try Tensor.randn([15], generator).array()
        _ = try Tensor.rand([100], generator)
        try generator.restore(state)
        #expect(try Tensor.randn([15], generator).array() == first)
        let other = try Generator(seed: 1)
        try other.restore(state)
        #expect(try Tensor.randn([15], other).array() == first)
    }

    @Test func refusesInvalidStates() throws {
        let generator = try Generator(seed: 9)
        let error = #expect(throws: SwanError.self) {
            try generator.restore(.zeros([3], .uint8))
        }
        #expect(error?.code == .invalidArgument)
    }
}
