import Foundation
import GoldenSupport
import SwanSystem
import Testing
import Torch
import TorchNN

@testable import SwanCheckpoints

/// The spellings of keys, and LoRAs of other variants of a model.
@Suite struct LoRANameTests {
    /// Keys as trainers write them, with what is changed.
    static let spellings: [(key: String, module: String, role: LoRA.Role)] = [
        // diffusers, PEFT
        ("transformer.blocks.3.attn1.to_q.lora_A.weight", "blocks.3.self_attn.q", .down),
        ("transformer.blocks.3.attn2.to_out.0.lora_B.default.weight", "blocks.3.cross_attn.o", .up),
        ("base_model.model.blocks.3.ffn.net.0.proj.lora_A.weight", "blocks.3.ffn.0", .down),
        ("base_model.model.model.blocks.3.ffn.2.lora_B.bias", "blocks.3.ffn.2", .upBias),
        ("blocks.3.attn1.to_k.lora.down.weight", "blocks.3.self_attn.k", .down),
        ("unet.blocks.3.attn2.add_k_proj.lora_A.weight", "blocks.3.cross_attn.k_img", .down),
        ("transformer.proj_out.lora_A.weight", "head.head", .down),
        (
            "transformer.blocks.3.attn1.to_q.lora_magnitude_vector", "blocks.3.self_attn.q",
            .magnitude
        ),
        (
            "blocks.3.attn1.to_q.lora_magnitude_vector.default.weight", "blocks.3.self_attn.q",
            .magnitude
        ),
        // ComfyUI, lightx2v, ai-toolkit
        ("diffusion_model.blocks.3.cross_attn.k.lora_down.weight", "blocks.3.cross_attn.k", .down),
        ("diffusion_model.blocks.3.cross_attn.k.alpha", "blocks.3.cross_attn.k", .alpha),
        ("diffusion_model.head.head.diff_b", "head.head", .bias),
        ("blocks.3.self_attn.norm_q.diff", "blocks.3.self_attn.norm_q", .weight),
        ("blocks.3.self_attn.q.lora_up.weight", "blocks.3.self_attn.q", .up),
        ("diffusion_model.blocks.3.self_attn.q.lokr_w2_a", "blocks.3.self_attn.q", .kron2A),
        ("transformer$$blocks$$3$$attn1$$to_q.lora_down.weight", "blocks.3.self_attn.q", .down),
        // DiffSynth-Studio
        ("pipe.dit.blocks.3.self_attn.q.lora_A.default.weight", "blocks.3.self_attn.q", .down),
        (
            "pipe.vace.vace_blocks.3.self_attn.q.lora_B.default.weight",
            "vace_blocks.3.self_attn.q", .up
        ),
        // musubi-tuner, sd-scripts, VideoX-Fun, LyCORIS, OneTrainer
        ("lora_unet_blocks_3_self_attn_q.lora_down.weight", "blocks.3.self_attn.q", .down),
        ("lora_unet__blocks_13_ffn_0.lora_up.weight", "blocks.13.ffn.0", .up),
        ("lora_unet_vace_blocks_3_after_proj.alpha", "vace_blocks.3.after_proj", .alpha),
        ("lycoris_blocks_3_attn1_to_out_0.hada_w1_b", "blocks.3.self_attn.o", .hada1B),
        ("lora_transformer_blocks_3_ffn_net_0_proj.dora_scale", "blocks.3.ffn.0", .doraScale),
        ("lora_transformer.blocks.3.attn1.to_q.lora_up.weight", "blocks.3.self_attn.q", .up),
        ("lora_unet_condition_embedder_time_proj.lora_up.weight", "time_projection.1", .up),
        ("lycoris_vace_patch_embedding.lokr_t2", "vace_patch_embedding", .kron2T),
        ("lora_unet_patch_embedding.lora_mid.weight", "patch_embedding", .mid),
        ("lora_unet_blocks_12.diff_m", "blocks.12", .modulation),
        // wrappers
        ("module.model.blocks.3.self_attn.q.lora_A.weight", "blocks.3.self_attn.q", .down),
        ("_orig_mod.blocks.3.self_attn.q.lora_A.weight", "blocks.3.self_attn.q", .down),
        (
            "dit.blocks.3._checkpoint_wrapped_module.self_attn.q.lora_A.weight",
            "blocks.3.self_attn.q", .down
        ),
        (
            "generator.model._fsdp_wrapped_module.blocks.3.self_attn.q.lora_A.x.weight",
            "blocks.3.self_attn.q", .down
        ),
        ("a_trainer_to_come.net.blocks.3.self_attn.q.lora_A.weight", "blocks.3.self_attn.q", .down),
        // FastVideo
        ("transformer.blocks.3.to_q.lora_A.weight", "blocks.3.self_attn.q", .down),
        ("blocks.3.attn2.to_out.lora_B.weight", "blocks.3.cross_attn.o", .up),
        ("blocks.3.ffn.fc_in.lora_B.weight", "blocks.3.ffn.0", .up),
    ]

    @Test(arguments: spellings.indices) func readsSpellings(_ index: Int) throws {
        let (text, module, role) = Self.spellings[index]
        let key = try #require(LoRAKey(text), "\(text)")
        #expect(key.name.module == module, "\(text)")
        #expect(key.role == role, "\(text)")
        #expect(key.name.owner == .transformer, "\(text)")
        #expect(key.name.isKnown, "\(text)")
    }

    @Test(arguments: [
        "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight",
        "text_encoder.encoder.block.0.layer.0.SelfAttention.q.lora_A.weight",
        "lora_te1_blocks_0_self_attn_q.alpha", "text_encoder.blocks.0.ffn.0.lora_A.weight",
        "pipe.text_encoder.blocks.0.attn.q.lora_A.default.weight",
        "image_encoder.blocks.0.ffn.0.lora_B.weight",
    ])
    func knowsOtherNetworks(_ text: String) throws {
        let key = try #require(LoRAKey(text))
        #expect(key.name.owner == .other)
    }

    @Test(arguments: [
        "lora_unet_double_blocks_0_img_attn_proj.lora_down.weight",
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight",
        "lora_transformer_transformer_blocks_0_attn1_to_q.lora_down.weight",
        "transformer.transformer_blocks.0.attn1.to_q.lora_A.weight",
        "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight",
    ])
    func knowsOtherModels(_ text: String) throws {
        let key = try #require(LoRAKey(text))
        #expect(!key.name.isKnown)
    }

    @Test(arguments: [
        "blocks.0.self_attn.q.lora_C.weight", "blocks.0.self_attn.q.lora_A.bias", "lora_A.weight",
        "blocks.0.self_attn.q.lora_A.a.b.weight", "blocks.0.self_attn.q.lora_B.x.scale", "epoch",
        "encoder.layer.0.weight", "blocks.0.self_attn.q.lora_A..weight", "diff", ".alpha.",
    ])
    func readsNothingElse(_ text: String) {
        #expect(LoRAKey(text) == nil)
    }

    // MARK: - Other variants

    private func product(_ module: String, _ out: Int, _ into: Int) throws -> [String: Tensor] {
        [
            "diffusion_model.\(module).lora_down.weight": try Tensor.ones([2, into]),
            "diffusion_model.\(module).lora_up.weight": try Tensor.ones([out, 2]),
        ]
    }

    private func base() throws -> DictionaryWeights {
        DictionaryWeights(try Golden("wan_t2v_a").weights)
    }

    /// What fits is used, and the rest is named.
    @Test func leavesOutWhatHasNoPlace() throws {
        var keys = try product("blocks.0.self_attn.q", 48, 48)
        let fitting = try LoRA(DictionaryWeights(keys), name: "x.safetensors")
        keys.merge(try product("blocks.0.cross_attn.k_img", 48, 48)) { a, _ in a }
        keys["diffusion_model.img_emb.proj.1.diff_b"] = try .ones([1_280])
        keys["lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight"] = try .ones([2, 8])
        keys["diffusion_model.blocks.0.self_attn.q.network_dim"] = try .ones([1])
        // An image-to-video model sees more channels than this one.
        keys["diffusion_model.patch_embedding.diff"] = try .ones([48, 9, 1, 2, 2])
        let lora = try LoRA(DictionaryWeights(keys), name: "x.safetensors")
        let weights = try LoRAWeights(base(), [lora])
        let expected = try LoRAWeights(base(), [fitting])
        for key in weights.keys {
            let shape = try #require(try weights.shape(key))
            try expectClose(weights.tensor(key, shape), expected.tensor(key, shape), absolute: 0)
        }
        #expect(expected.notes.isEmpty)
        let note = try #require(weights.notes.first)
        #expect(
            note.hasPrefix("x.safetensors: 6 of its 8 keys have no place in this model"),
            "\(note)"
        )
        #expect(note.contains("k_img"), "\(note)")
        #expect(note.contains("it was trained for an image-to-video model"), "\(note)")
        let error = failure { _ = try LoRAWeights(base(), [lora], isStrict: true) }
        let text = error.map { "\($0)" } ?? ""
        #expect(text.contains("6 of its 8 keys do not fit"), "\(text)")
        #expect(text.contains("fc1.lora_down.weight: belongs to another network"), "\(text)")
        #expect(text.contains("network_dim: is not a key of a LoRA"), "\(text)")
        #expect(
            text.contains("patch_embedding.diff [48, 9, 1, 2, 2]: the weight is [48, 4, 1, 2, 2]")
        )
    }

    /// Another width is no variant.
    @Test func refusesAnotherWidth() throws {
        var keys = try product("blocks.0.self_attn.q", 48, 48)
        keys.merge(try product("blocks.1.self_attn.q", 1_536, 1_536)) { a, _ in a }
        let lora = try LoRA(DictionaryWeights(keys), name: "x")
        let text = failure { _ = try LoRAWeights(base(), [lora]) }.map { "\($0)" } ?? ""
        #expect(text.contains("it was trained for Wan 1.3B (width 1536)"), "\(text)")
        #expect(text.contains("2 of its 4 keys do not fit"), "\(text)")
    }

    /// A file for both experts has names for each.
    @Test func dividesAFileForTwoTransformers() throws {
        var keys = try product("blocks.0.self_attn.q", 48, 48)
        for (key, tensor) in keys {
            keys["transformer_2" + key.dropFirst("diffusion_model".count)] = try tensor * 3
        }
        let lora = try LoRA(DictionaryWeights(keys), name: "two")
        #expect(throws: SwanError.self) { try lora.forOneTransformer() }
        func changed(_ isLow: Bool) throws -> Double {
            let part = try #require(lora.part(forLowNoise: isLow))
            let weights = try LoRAWeights(base(), [part], isStrict: true)
            let key = "blocks.0.self_attn.q.weight"
            let plain = try base().tensor(key, [48, 48])
            return try (weights.tensor(key, [48, 48]) - plain).mean().item()
        }
        #expect(abs(try changed(false) - 2) < 1e-4)
        #expect(abs(try changed(true) - 18) < 1e-3)
        let low = keys.filter { $0.key.hasPrefix("transformer_2") }
        let one = try LoRA(DictionaryWeights(low), name: "low")
        #expect(one.part(forLowNoise: false) == nil)
        #expect(try one.forOneTransformer().part(forLowNoise: false) != nil)
    }

    @Test func findsTheFilesOfTwoExperts() throws {
        let folder = try TemporaryDirectory()
        for name in ["Wan22-HIGH-4steps.safetensors", "Wan22-low_noise.safetensors", "note.txt"] {
            try Data().write(to: URL(fileURLWithPath: folder.path(name)))
        }
        let pair = try #require(LoRAFiles.pair(in: folder.path("")))
        #expect(pair.highNoise == folder.path("Wan22-HIGH-4steps.safetensors"))
        #expect(pair.lowNoise == folder.path("Wan22-low_noise.safetensors"))
        #expect(LoRAFiles.pair(in: pair.lowNoise) == nil)
        #expect(LoRAFiles.isForLowNoise("slow_motion.safetensors") == nil)
        #expect(LoRAFiles.isForLowNoise("high_and_low.safetensors") == nil)
        try Data().write(to: URL(fileURLWithPath: folder.path("other.safetensors")))
        #expect(LoRAFiles.pair(in: folder.path("")) == nil)
    }

    // MARK: - Settings

    private func refusal(_ settings: String) -> String {
        failure { _ = try LoRASettings(Data(settings.utf8), "adapter_config.json") }
            .map { "\($0)" } ?? "no error"
    }

    @Test func readsSettings() throws {
        let text = """
            {"transformer_2.lora_alpha": 99, "transformer.lora_alpha": 8, "transformer.r": 4,
             "transformer.alpha_pattern": {"attn1.to_q": 2, "^blocks\\\\.0\\\\.attn1\\\\.to_q": 6}}
            """
        let settings = try LoRASettings(Data(text.utf8), "x")
        #expect(settings.factor("blocks.1.ffn.0", rank: 2) == 4)
        #expect(settings.factor("blocks.1.ffn.0", rank: nil) == 2)
        #expect(settings.factor("blocks.1.self_attn.q", rank: 4) == 0.5)
        #expect(settings.factor("blocks.0.self_attn.q", rank: 4) == 1.5)
        #expect(LoRASettings().factor("blocks.0.self_attn.q", rank: 4) == 1)
        let stabilized = try LoRASettings(
            Data(#"{"lora_alpha": 6, "use_rslora": true}"#.utf8),
            "x"
        )
        #expect(stabilized.factor("head.head", rank: 9) == 2)
    }

    @Test func refusesSettingsThatCannotBeFollowed() {
        #expect(refusal("{").contains("adapter_config.json: is not valid JSON"))
        #expect(refusal(#"{"lora_alpha": "8"}"#).contains("lora_alpha is not a number"))
        #expect(refusal(#"{"init_lora_weights": "pissa_niter_4"}"#).contains("pissa_niter_4"))
        #expect(refusal(#"{"fan_in_fan_out": true}"#).contains("fan_in_fan_out"))
        #expect(refusal(#"{"alpha_pattern": {".*to_q": 2}}"#).contains("'.*to_q'"))
        #expect(refusal(#"{"init_lora_weights": true, "r": 4}"#) == "no error")
    }

    @Test func findsFilesInAFolder() throws {
        let folder = try TemporaryDirectory()
        let keys = try product("blocks.0.self_attn.q", 48, 48)
        #expect(throws: SwanError.self) { try LoRA.open(folder.path("")) }
        try Safetensors.write(keys, to: folder.path("a.safetensors"))
        #expect(try LoRA.open(folder.path("")).isAdditive)
        try Safetensors.write(keys, to: folder.path("b.safetensors"))
        let text = failure { _ = try LoRA.open(folder.path("")) }.map { "\($0)" } ?? ""
        #expect(text.contains("2 .safetensors files"), "\(text)")
        try Safetensors.write(keys, to: folder.path("pytorch_lora_weights.safetensors"))
        _ = try LoRA.open(folder.path(""))
    }
}
