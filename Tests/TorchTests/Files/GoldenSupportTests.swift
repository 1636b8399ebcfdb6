import GoldenSupport
import SwanSystem
import Testing
import Torch

@Suite struct GoldenSupportTests {
    private struct Config: Decodable {
        let dim: Int
        let patchSize: [Int]
        enum CodingKeys: String, CodingKey {
            case dim
            case patchSize = "patch_size"
        }
    }

    @Test func opensAGolden() throws {
        let golden = try Golden("causal_wan_train_a")
        let config: Config = try golden.config()
        #expect(config.dim == 48)
        #expect(config.patchSize == [1, 2, 2])
        #expect(try golden.tolerance.relative == 1e-4)
        #expect(try golden.input("video").shape == [2, 4, 5, 6, 10])
        #expect(try golden.output("video").shape == [2, 4, 5, 6, 10])
        #expect(try golden.weights["patch_embedding.weight"]?.shape == [48, 4, 1, 2, 2])
        #expect(throws: SwanError.self) { try golden.weights(named: "weights_of_nobody") }
    }

    @Test func closeTensorsPass() throws {
        let infinite = try Tensor([1, 2, .infinity] as [Float], [3])
        try expectClose(infinite, try Tensor([1, 2.00001, .infinity] as [Float], [3]))
    }

    @Test(arguments: [[1, 2, 3.1], [1, 2, .nan], [1, 2, .infinity]] as [[Float]])
    func distantTensorsFail(_ values: [Float]) throws {
        let expected = try Tensor([1, 2, 3] as [Float], [3])
        let actual = try Tensor(values, [3])
        try withKnownIssue {
            try expectClose(actual, expected)
        } matching: { issue in
            let text = issue.comments.map(\.rawValue).joined()
            return text.contains("1 of 3 elements differ") && text.contains("at [2]")
        }
    }

    @Test func finiteIsNotCloseToInfinity() throws {
        withKnownIssue {
            try expectClose(
                try Tensor([1] as [Float], [1]),
                try Tensor([.infinity] as [Float], [1])
            )
        }
    }

    @Test func comparesShapes() throws {
        withKnownIssue {
            try expectClose(try .zeros([2, 1]), try .zeros([1, 2]))
        }
    }
}
