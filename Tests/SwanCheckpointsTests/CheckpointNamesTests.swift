import GoldenSupport
import SwanCheckpoints
import SwanModels
import Testing
import Torch
import TorchNN

@Suite struct CheckpointNamesTests {
    /// The same weights under both namings: each translated key holds the original's values.
    @Test(arguments: [
        ("wan_t2v_a", "weights_diffusers"), ("wan_t2v_b", "weights_diffusers"),
        ("wan_ti2v_per_token", "weights_diffusers"), ("wan_vae21_a", "weights_diffusers"),
        ("wan_vae22", "weights_diffusers"), ("umt5_a", "weights_hf"), ("umt5_b", "weights_hf"),
    ])
    func translatesKeysToWanNames(_ name: String, _ naming: String) throws {
        let golden = try Golden(name)
        let originals = try golden.weights
        let translated = try DictionaryWeights(golden.weights(named: naming)).inWanNames()
        #expect(translated.keys.sorted() == originals.keys.sorted())
        for (key, original) in originals {
            let shape = try #require(try translated.shape(key))
            try expectClose(
                translated.tensor(key, shape),
                original,
                relative: 0,
                absolute: 0,
                key
            )
        }
    }

    /// In both directions, from either naming.
    @Test(arguments: [
        ("wan_t2v_a", "weights_diffusers"), ("wan_ti2v_per_token", "weights_diffusers"),
        ("wan_vae21_a", "weights_diffusers"), ("wan_vae22", "weights_diffusers"),
        ("umt5_a", "weights_hf"), ("umt5_b", "weights_hf"),
    ])
    func translatesNamesBothWays(_ name: String, _ naming: String) throws {
        let golden = try Golden(name)
        let originals = try golden.weights.keys.sorted()
        let others = try golden.weights(named: naming).keys.sorted()
        let ours = try #require(CheckpointNames(originals))
        let theirs = try #require(CheckpointNames(others))
        #expect(ours.part == theirs.part)
        #expect(ours.naming == .original && theirs.naming == .diffusers)
        #expect(others.compactMap { theirs.original($0) }.sorted() == originals)
        // The duplicate embedding table has no counterpart in Wan's naming.
        let written = others.filter { theirs.original($0) != nil }
        #expect(originals.compactMap { ours.diffusers($0) }.sorted() == written)
        #expect(others.compactMap { theirs.diffusers($0) }.sorted() == written)
        #expect(originals.allSatisfy { ours.name($0, in: .original) == $0 })
    }

    @Test func unknownKeysHaveNoNaming() {
        #expect(CheckpointNames(["a", "b.weight"]) == nil)
    }

    /// A text encoder packed by ComfyUI: scale factors, a marker and the tokenizer are stored with
    /// the weights.
    @Test func ignoresTensorsPackedWithTheWeights() throws {
        let golden = try Golden("umt5_a")
        var tensors = try golden.weights(named: "weights_hf")
        let key = "encoder.block.0.layer.0.SelfAttention.q"
        let quarter = try #require(tensors[key + ".weight"]).to(.float8e4m3)
        tensors[key + ".weight"] = quarter
        tensors[key + ".scale_weight"] = try Tensor([Float(2)], [])
        tensors["scaled_fp8"] = try Tensor.zeros([2]).to(.float8e4m3)
        tensors["spiece_model"] = try Tensor([1, 2, 3] as [UInt8], [3])
        let names = try DictionaryWeights(tensors).inWanNames()
        #expect(try names.keys.sorted() == golden.weights.keys.sorted())
        let stored = try names.stored("blocks.0.attn.q.weight", quarter.shape)
        #expect(stored.values.dtype == .float8e4m3)
        try expectClose(
            names.tensor("blocks.0.attn.q.weight", quarter.shape),
            quarter.to(.float32) * 2,
            relative: 0
        )
    }

    @Test(arguments: ["wan_t2v_a", "wan_vae21_a", "wan_vae22", "umt5_a"])
    func keepsWanNames(_ name: String) throws {
        let weights = try Golden(name).weights
        let same = try DictionaryWeights(weights).inWanNames()
        #expect(same.keys.sorted() == weights.keys.sorted())
    }

    /// Keys of parts that only some models have and no golden covers.
    @Test(arguments: [
        ("condition_embedder.image_embedder.norm1.weight", "img_emb.proj.0.weight"),
        ("condition_embedder.image_embedder.ff.net.0.proj.bias", "img_emb.proj.1.bias"),
        ("condition_embedder.image_embedder.ff.net.2.bias", "img_emb.proj.3.bias"),
        ("condition_embedder.image_embedder.norm2.bias", "img_emb.proj.4.bias"),
        ("condition_embedder.image_embedder.pos_embed", "img_emb.emb_pos"),
        ("blocks.12.attn2.add_k_proj.weight", "blocks.12.cross_attn.k_img.weight"),
        ("blocks.12.attn2.add_v_proj.bias", "blocks.12.cross_attn.v_img.bias"),
        ("blocks.12.attn2.norm_added_k.weight", "blocks.12.cross_attn.norm_k_img.weight"),
        ("vace_blocks.0.proj_in.weight", "vace_blocks.0.before_proj.weight"),
        ("vace_blocks.3.proj_out.bias", "vace_blocks.3.after_proj.bias"),
        ("vace_patch_embedding.weight", "vace_patch_embedding.weight"),
    ])
    func translatesKeysOfOptionalParts(_ theirs: String, _ ours: String) throws {
        let one = try Tensor.zeros([1])
        let source = DictionaryWeights([theirs: one, "condition_embedder.time_proj.weight": one])
        let names = try #require(CheckpointNames([ours, "time_projection.1.weight"]))
        #expect(names.diffusers(ours) == theirs)
        #expect(
            try source.inWanNames().keys.sorted() == [ours, "time_projection.1.weight"].sorted()
        )
    }

    @Test func extractsTheEncoderOfAFullUMT5() throws {
        var weights = try Golden("umt5_a").weights(named: "weights_hf")
        let count = weights.count
        weights["encoder.embed_tokens.weight"] = weights["shared.weight"]
        weights["decoder.block.0.layer.0.SelfAttention.q.weight"] = try .zeros([1])
        weights["lm_head.weight"] = try .zeros([1])
        #expect(try DictionaryWeights(weights).inWanNames().keys.count == count)
        weights["shared.weight"] = nil
        let translated = try DictionaryWeights(weights).inWanNames()
        #expect(translated.keys.contains("token_embedding.weight"))
    }

    /// diffusers' published image-to-video checkpoints contain this norm, but no network uses it.
    @Test func ignoresTheUnusedNorm() throws {
        let names = try #require(
            CheckpointNames([
                "condition_embedder.time_proj.weight", "blocks.0.attn2.norm_added_q.weight",
            ])
        )
        #expect(names.original("blocks.0.attn2.norm_added_q.weight") == nil)
        #expect(
            names.original("blocks.0.attn2.norm_q.weight") == "blocks.0.cross_attn.norm_q.weight"
        )
    }
}
