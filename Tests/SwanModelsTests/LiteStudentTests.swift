import Foundation
import GoldenSupport
import SwanModels
import SwanSystem
import Testing
import Torch
import TorchNN

/// Compares with PyTorch modules of the same keys (Goldens/lite_student_*).
struct LiteStudentTests {
    private static let goldens = ["lite_student_a", "lite_student_b", "lite_student_rope"]

    private static func student(_ golden: Golden) throws -> LiteStudent2D {
        try student(golden, golden.weights)
    }

    private static func student(
        _ golden: Golden,
        _ tensors: [String: Tensor]
    ) throws -> LiteStudent2D {
        let config = try JSONDecoder().decode(LiteStudentConfig.self, from: golden.configData)
        let weights = Weights(DictionaryWeights(tensors), device: golden.device)
        let student = try LiteStudent2D(weights, config)
        try weights.finish()
        return student
    }

    private static func flow(
        _ golden: Golden,
        _ student: LiteStudent2D,
        countsPadding: Bool = false,
        recomputing: Bool = false
    ) throws -> Tensor {
        let lengths = try golden.input("lengths").array(of: Int.self)
        return try student(
            golden.input("latents"),
            timesteps: golden.input("timesteps"),
            text: LiteStudent2D.pooled(
                golden.input("text"),
                lengths: countsPadding ? nil : lengths
            ),
            recomputing: recomputing
        )
    }

    @Test(arguments: goldens, Device.tested) func flows(_ name: String, device: Device) throws {
        let golden = try Golden(name, on: device)
        let student = try Self.student(golden)
        try expectClose(
            Self.flow(golden, student),
            golden.output("flow"),
            within: golden.tolerance
        )
        try expectClose(
            Self.flow(golden, student, countsPadding: true),
            golden.output("padded_flow"),
            within: golden.tolerance
        )
    }

    /// Whether blocks are recomputed or not.
    @Test(arguments: goldens, [false, true])
    func gradientsOfTheError(_ name: String, recomputing: Bool) throws {
        let golden = try Golden(name)
        let weights = try golden.weights
        let keys = weights.keys.sorted()
        for key in keys { try weights[key]?.setRequiresGrad() }
        let student = try Self.student(golden, weights)
        let flow = try Self.flow(golden, student, recomputing: recomputing)
        let loss = try (flow - golden.input("target")).pow(2).mean()
        try expectClose(loss, golden.output("loss"), within: golden.tolerance)
        let found = try gradients(of: loss, for: keys.map { try #require(weights[$0]) })
        for (key, gradient) in zip(keys, found) {
            try expectClose(
                #require(gradient),
                golden.output("gradient_\(key)"),
                within: golden.tolerance,
                key
            )
        }
    }

    @Test func emptyPromptsHaveTheMeanZero() throws {
        let mean = try LiteStudent2D.pooled(.ones([2, 3, 4]), lengths: [0, 2])
        #expect(try mean.array(of: Float.self) == [0, 0, 0, 0, 1, 1, 1, 1])
        #expect(throws: SwanError.self) {
            try LiteStudent2D.pooled(.ones([2, 3, 4]), lengths: [4, 1])
        }
    }

    @Test(arguments: [
        (#""hidden_size": 10, "num_heads": 4"#, "multiple of num_heads"),
        (#""hidden_size": 9, "num_heads": 3"#, "even"),
        (#""hidden_size": 0, "num_heads": 1"#, "hidden_size is 0"),
        (#""hidden_size": 6, "num_heads": 2, "positions": "rope""#, "rope needs an even head"),
    ])
    func refusesSizes(sizes: String, words: String) {
        let json = #"{\#(sizes), "depth": 1, "num_channels": 4}"#
        let error = #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(LiteStudentConfig.self, from: Data(json.utf8))
        }
        #expect("\(String(describing: error))".contains(words))
    }
}
