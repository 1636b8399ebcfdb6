import Foundation
import GoldenSupport
import SwanModels
import Testing
import Torch
import TorchNN
import SwanSystem

/// Compares the transformers with the reference implementations, for the same weights and inputs.
@Suite struct WanTransformerTests {
    @Test(arguments: ["wan_t2v_a", "wan_t2v_b"], Device.tested)
    func bidirectional(name: String, device: Device) throws {
        let golden = try Golden(name, on: device)
        let config: WanConfig = try golden.config()
        let weights = Weights(DictionaryWeights(try golden.weights), device: device)
        let model = try WanTransformer(weights, config)
        try weights.finish()
        let flow = try inference {
            try model(
                golden.input("video"),
                timesteps: golden.input("timestep"),
                text: model.text(golden.input("context"))
            )
        }
        try expectClose(flow, golden.output("video"), within: golden.tolerance)
    }

    @Test(arguments: Device.tested) func timestepForEveryToken(device: Device) throws {
        let golden = try Golden("wan_ti2v_per_token", on: device)
        let model = try WanTransformer(
            Weights(DictionaryWeights(golden.weights), device: device),
            golden.config()
        )
        let flow = try inference {
            try model(
                golden.input("video"),
                timesteps: golden.input("timestep"),
                text: model.text(golden.input("context"))
            )
        }
        try expectClose(flow, golden.output("video_diffusers"), within: golden.tolerance)
    }

    /// Tokens of a frame share its timestep, so one timestep per frame is equivalent and faster.
    @Test func timestepForEveryFrame() throws {
        let golden = try Golden("wan_ti2v_per_token")
        let model = try WanTransformer(
            Weights(DictionaryWeights(golden.weights)),
            golden.config()
        )
        let text = try model.text(golden.input("context"))
        let tokens = try golden.input("timestep")
        let frames = try tokens.reshaped(2, 3, -1).selected(2, 0)  // [B, F]
        try inference {
            let latents = try golden.input("video")
            try expectClose(
                model(latents, timesteps: frames, text: text),
                model(latents, timesteps: tokens, text: text),
                relative: 1e-5,
                absolute: 1e-5
            )
        }
        let error = #expect(throws: SwanError.self) {
            try model(
                golden.input("video"),
                timesteps: tokens.narrowed(1, 0, 5),
                text: text
            )
        }
        #expect(error?.message.contains("[B, 3]") ?? false)
    }

    @Test(
        arguments: ["causal_wan_train_a", "causal_wan_train_b", "causal_wan_train_c"],
        Device.tested
    )
    func blockCausal(name: String, device: Device) throws {
        struct Block: Decodable {
            let num_frame_per_block: Int
        }
        let golden = try Golden(name, on: device)
        let weights = Weights(DictionaryWeights(try golden.weights), device: device)
        let model = try CausalWanTransformer(weights, golden.config())
        try weights.finish()
        let flow = try inference {
            try model(
                golden.input("video"),
                timesteps: golden.input("timestep"),
                text: model.text(golden.input("context")),
                framesPerBlock: golden.config(Block.self).num_frame_per_block
            )
        }
        try expectClose(flow, golden.output("video"), within: golden.tolerance)
    }

    /// The reference attends to all padding of a text; one weighted key must give the same result.
    @Test func paddingIsOneKey() throws {
        let golden = try Golden("wan_t2v_a")
        let model = try WanTransformer(
            Weights(DictionaryWeights(golden.weights)),
            golden.config()
        )
        let lengths: [Int] = try golden.input("context_lengths").array()
        for (row, length) in lengths.enumerated() {
            let context = try golden.input("context").narrowed(0, row, 1).narrowed(1, 0, length)
            let flow = try inference {
                try model(
                    golden.input("video").narrowed(0, row, 1),
                    timesteps: golden.input("timestep").narrowed(0, row, 1),
                    text: model.text(context)
                )
            }
            try expectClose(
                flow,
                golden.output("video").narrowed(0, row, 1),
                within: golden.tolerance
            )
        }
    }

    @Test(arguments: Device.tested) func halfPrecision(device: Device) throws {
        let golden = try Golden("wan_t2v_a", on: device)
        let model = try WanTransformer(
            Weights(DictionaryWeights(golden.weights), dtype: .bfloat16, device: device),
            golden.config()
        )
        let flow = try inference {
            try model(
                golden.input("video").to(.bfloat16),
                timesteps: golden.input("timestep"),
                text: model.text(golden.input("context").to(.bfloat16))
            )
        }
        #expect(flow.dtype == .bfloat16)
        // Eight significant bits, through two blocks.
        try expectClose(
            flow.to(.float32),
            golden.output("video"),
            relative: 0.05,
            absolute: 0.08
        )
    }

    @Test(arguments: Device.tested) func streamingEqualsTheMaskedWhole(device: Device) throws {
        var config = WanConfig()
        (config.dim, config.ffnDim, config.heads, config.layers) = (48, 96, 3, 2)
        (config.inDim, config.outDim, config.freqDim) = (4, 4, 32)
        (config.textDim, config.textLen) = (20, 12)
        let model = try CausalWanTransformer(
            Weights(MadeWeights.random(seed: 3), device: device),
            config
        )
        let generator = try Generator(seed: 1)
        let latents = try Tensor.randn([1, 4, 5, 6, 10], generator).to(device)
        try inference {
            let text = try model.text(Tensor.randn([1, 5, 20], generator).to(device))
            let steps = try Tensor.full([1, 5], 400, .float32, device)
            let whole = try model(latents, timesteps: steps, text: text)
            var cache = try KVCachePool(
                config,
                rows: 1,
                frames: 5,
                tokensPerFrame: 15,
                device: device
            )
            let row = try cache.acquireRows(
                1,
                options: KVCacheOptions(frames: 5, sinkFrames: 0)
            )
            for frame in 0..<5 {
                let flow = try model(
                    latents.narrowed(2, frame, 1),
                    timesteps: [400],
                    text: text,
                    firstFrames: [frame],
                    cache: &cache,
                    rows: row
                )
                try expectClose(
                    flow,
                    whole.narrowed(2, frame, 1),
                    within: Tolerance(absolute: 2e-5, relative: 2e-5).on(device)
                )
            }
        }
    }

    @Test func namesInvalidLatents() throws {
        let golden = try Golden("wan_t2v_a")
        let model = try WanTransformer(
            Weights(DictionaryWeights(golden.weights)),
            golden.config()
        )
        let text = try model.text(golden.input("context"))
        let error = #expect(throws: SwanError.self) {
            try model(Tensor.zeros([1, 4, 1, 5, 6]), timesteps: Tensor.zeros([1]), text: text)
        }
        #expect(error?.message.contains("[1, 4, 1, 5, 6]") ?? false)
    }

    @Test func decodesDiffusersConfig() throws {
        let json = """
            {"num_attention_heads": 12, "attention_head_dim": 128, "ffn_dim": 8960, "num_layers": 30,
             "in_channels": 16, "out_channels": 16, "qk_norm": "rms_norm_across_heads"}
            """
        let config = try JSONDecoder().decode(WanConfig.self, from: Data(json.utf8))
        #expect(config == .wan1_3B)
        let again = try JSONDecoder().decode(
            WanConfig.self,
            from: JSONEncoder().encode(WanConfig.wan14B)
        )
        #expect(again == .wan14B)
    }
}
