import Foundation
import GoldenSupport
import SwanCheckpoints
import SwanModels
import Testing
import Torch
import TorchNN
import SwanSystem

/// Compares the transformer with a control branch, and the inputs of the branch, with the references.
@Suite struct VACETests {
    private struct Options: Decodable {
        let context_scale: Double
    }

    private func model(_ golden: Golden, _ config: WanConfig) throws -> WanVACETransformer {
        let weights = Weights(DictionaryWeights(try golden.weights), device: golden.device)
        let model = try WanVACETransformer(weights, config)
        try weights.finish()
        return model
    }

    @Test(arguments: ["vace_a", "vace_b"], Device.tested)
    func transformer(name: String, device: Device) throws {
        let golden = try Golden(name, on: device)
        let model = try model(golden, golden.config())
        let scale = try golden.config(Options.self).context_scale
        try inference {
            let text = try model.text(golden.input("context"))
            let flow = try model(
                golden.input("video"),
                timesteps: golden.input("timestep"),
                text: text,
                control: golden.input("control"),
                scale: scale
            )
            try expectClose(flow, golden.output("video"), within: golden.tolerance)
        }
    }

    /// With scale 0, the branch has no effect and the result is that of the plain transformer.
    @Test func scaleZeroIsThePlainTransformer() throws {
        let golden = try Golden("vace_a")
        let vace = try model(golden, golden.config())
        let plain = try WanTransformer(
            Weights(DictionaryWeights(golden.weights)),
            golden.config()
        )
        try inference {
            let (video, steps) = (try golden.input("video"), try golden.input("timestep"))
            let context = try golden.input("context")
            try expectClose(
                vace(
                    video,
                    timesteps: steps,
                    text: vace.text(context),
                    control: golden.input("control").narrowed(0, 0, 1),
                    scale: 0
                ),
                plain(video, timesteps: steps, text: plain.text(context)),
                relative: 1e-6,
                absolute: 1e-6
            )
        }
    }

    @Test func sharesOneControlAcrossRows() throws {
        let golden = try Golden("vace_a")
        let model = try model(golden, golden.config())
        let flow = try inference {
            try model(
                golden.input("video"),
                timesteps: golden.input("timestep"),
                text: model.text(golden.input("context")),
                control: golden.input("control").narrowed(0, 0, 1)
            )
        }
        try expectClose(
            flow.narrowed(0, 0, 1),
            golden.output("video").narrowed(0, 0, 1),
            within: golden.tolerance
        )
    }

    @Test(arguments: ["vace_control_a", "vace_control_b"], Device.tested)
    func controlLatents(name: String, device: Device) throws {
        struct Images: Decodable {
            let references: Int
        }
        let golden = try Golden(name, on: device)
        let count = try golden.config(Images.self).references
        let matrix = try golden.input("matrix")
        func encode(_ x: Tensor) throws(SwanError) -> Tensor {
            let pixels = try x.sliced(2, 0..<x.size(2), step: 4)
                .sliced(3, 0..<x.size(3), step: 8).sliced(4, 0..<x.size(4), step: 8)
            return try matmul(pixels.permuted(0, 2, 3, 4, 1), matrix).tanh().permuted(0, 4, 1, 2, 3)
        }
        let control = try VACEControl.latents(
            video: golden.input("video"),
            mask: golden.input("mask"),
            references: (0..<count).map { try golden.input("reference_\($0)") },
            encode: encode
        )
        try expectClose(control, golden.output("control"), within: golden.tolerance)
        let whole = try VACEControl.latents(video: golden.input("video"), encode: encode)
        let ones = try VACEControl.latents(
            video: golden.input("video"),
            mask: golden.input("mask").onesLike(),
            encode: encode
        )
        try expectClose(whole, ones, relative: 0, absolute: 0)
    }

    /// Other autoencoders have other numbers of frames and pixels per latent.
    @Test func controlLatentsOfOtherStrides() throws {
        let strides = TinyVAEConfig.wan22
        func encode(_ x: Tensor) throws(SwanError) -> Tensor {
            try x.sliced(2, 0..<x.size(2), step: 4).sliced(3, 0..<x.size(3), step: 16)
                .sliced(4, 0..<x.size(4), step: 16)
        }
        let video = try Tensor.zeros([1, 3, 5, 64, 32])
        let control = try VACEControl.latents(video: video, strides: strides, encode: encode)
        #expect(control.shape == [1, 2 * 3 + 16 * 16, 2, 4, 2])
        let error = #expect(throws: SwanError.self) {
            let video = try Tensor.zeros([1, 3, 5, 48, 32])
            return try VACEControl.latents(video: video, strides: strides, encode: encode)
        }
        #expect(error?.message.contains("multiples of 32") ?? false)
    }

    @Test func centersReferencesInAWhiteFrame() throws {
        let golden = try Golden("vace_reference")
        let count = golden.keys.filter { $0.hasPrefix("input/") }.count
        #expect(count > 0)
        for index in 0..<count {
            let expected = try golden.output("frame_\(index)")
            let frame = try VACEControl.reference(
                golden.input("image_\(index)"),
                height: expected.size(3),
                width: expected.size(4)
            )
            try expectClose(frame, expected, within: golden.tolerance, "image \(index)")
        }
    }

    @Test(arguments: ["vace_a", "vace_b"])
    func infersSizesFromWeights(name: String) throws {
        let golden = try Golden(name)
        let expected: WanConfig = try golden.config()
        var bare = WanConfig()
        (bare.dim, bare.heads, bare.textLen) = (expected.dim, expected.heads, expected.textLen)
        bare.vaceLayers = expected.vaceLayers?.count == 3 ? expected.vaceLayers : [0, 1, 2]
        #expect(try bare.fitted(to: DictionaryWeights(golden.weights)) == expected)
    }

    @Test func decodesDiffusersConfig() throws {
        let json = """
            {"num_attention_heads": 40, "attention_head_dim": 128, "ffn_dim": 13824,
             "num_layers": 40, "vace_in_channels": 96, "vace_layers": [0, 5, 10, 15, 20, 25, 30, 35]}
            """
        let config = try JSONDecoder().decode(WanConfig.self, from: Data(json.utf8))
        #expect(config.vaceInDim == 96)
        #expect(config.vaceLayers == Array(stride(from: 0, to: 40, by: 5)))
        let again = try JSONDecoder().decode(WanConfig.self, from: JSONEncoder().encode(config))
        #expect(again == config)
    }

    @Test func namesMismatches() throws {
        let golden = try Golden("vace_a")
        var config: WanConfig = try golden.config()
        let model = try model(golden, config)
        let plain = try WanTransformer(Weights(DictionaryWeights(golden.weights)), config)
        let (video, steps) = (try golden.input("video"), try golden.input("timestep"))
        let context = try golden.input("context")
        func message(_ body: () throws -> Void) -> String {
            let error = #expect(throws: SwanError.self, performing: body)
            return error?.message ?? ""
        }
        let shape = message {
            let control = try golden.input("control").narrowed(2, 0, 2)
            _ = try model(video, timesteps: steps, text: model.text(context), control: control)
        }
        #expect(shape.contains("[2, 9, 2, 6, 10]") && shape.contains("[2, 9, 3, 6, 10]"))
        let other = message {
            let control = try golden.input("control")
            _ = try model(video, timesteps: steps, text: plain.text(context), control: control)
        }
        #expect(other.contains("another model"))
        for layers in [nil, [], [1, 2], [0, 2, 1], [0, 4]] as [[Int]?] {
            config.vaceLayers = layers
            let named = message {
                _ = try WanVACETransformer(Weights(DictionaryWeights(golden.weights)), config)
            }
            #expect(named.contains("vace_layers"))
        }
    }

    @Test(arguments: [
        ([1, 3, 4, 16, 16], [1, 1, 4, 16, 16], "4n + 1"),
        ([1, 3, 5, 24, 16], [1, 1, 5, 24, 16], "multiples of 16"),
        ([1, 3, 5, 16, 16], [1, 1, 5, 16, 8], "[1, 1, 5, 16, 8]"),
    ])
    func namesMismatchedControls(video: [Int], mask: [Int], what: String) throws {
        let error = #expect(throws: SwanError.self) {
            try VACEControl.latents(video: .zeros(video), mask: .zeros(mask)) { $0 }
        }
        #expect(error?.message.contains(what) ?? false)
    }

    @Test func namesMismatchedReferences() throws {
        let error = #expect(throws: SwanError.self) {
            try VACEControl.latents(
                video: .zeros([1, 3, 5, 16, 16]),
                references: [.zeros([1, 3, 1, 16, 32])]
            ) { $0 }
        }
        #expect(error?.message.contains("[1, 3, 1, 16, 32]") ?? false)
    }
}
