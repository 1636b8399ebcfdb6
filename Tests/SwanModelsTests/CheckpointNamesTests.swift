import GoldenSupport
import SwanModels
import Testing
import Torch
import TorchNN

@Suite struct CheckpointNamesTests {
    /// The same weights under both names: every translated key holds the original's numbers.
    @Test(arguments: [
        ("wan_t2v_a", "weights_diffusers"), ("wan_t2v_b", "weights_diffusers"),
        ("wan_ti2v_per_token", "weights_diffusers"), ("wan_vae21_a", "weights_diffusers"),
        ("wan_vae22", "weights_diffusers"), ("umt5_a", "weights_hf"), ("umt5_b", "weights_hf"),
    ])
    func othersNamesAreTranslated(_ name: String, _ naming: String) throws {
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

    @Test(arguments: ["wan_t2v_a", "wan_vae21_a", "wan_vae22", "umt5_a"])
    func wansOwnNamesStay(_ name: String) throws {
        let weights = try Golden(name).weights
        let same = try DictionaryWeights(weights).inWanNames()
        #expect(same.keys.sorted() == weights.keys.sorted())
    }

    /// Parts that only some models have, which no golden holds.
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
    func rarePartsAreTranslated(_ theirs: String, _ ours: String) throws {
        let one = try Tensor.zeros([1])
        let source = DictionaryWeights([theirs: one, "condition_embedder.time_proj.weight": one])
        #expect(
            try source.inWanNames().keys.sorted() == [ours, "time_projection.1.weight"].sorted()
        )
    }

    @Test func aWholeUMT5GivesItsEncoder() throws {
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
}
