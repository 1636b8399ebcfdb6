import Foundation
import GoldenSupport
import SwanModels
import SwanSystem
import Testing
import Torch
import TorchNN

@testable import SwanCheckpoints

/// Adapters of every kind, as PEFT and LyCORIS write them, compared with what they compute.
@Suite struct LoRAKindTests {
    private let base: [String: Tensor]
    private let config: WanConfig

    init() throws {
        let golden = try Golden("wan_t2v_a")
        base = try golden.weights
        config = try golden.config()
    }

    private func weight(_ weights: LoRAWeights, _ key: String) throws -> Tensor {
        try weights.tensor(key, try #require(try weights.shape(key)))
    }

    static let peftKinds = [
        "lora", "rslora", "dora", "lokr", "lokr_both", "lokr_whole", "loha",
    ]

    /// A folder with `adapter_config.json`, whose settings say how the changes are scaled.
    @Test(arguments: peftKinds) func computesLikePEFT(_ kind: String) throws {
        let golden = try Golden("lora_peft")
        let folder = try TemporaryDirectory()
        let adapter = try golden.tensors(under: "adapter_\(kind)")
        try Safetensors.write(adapter, to: folder.path("adapter_model.safetensors"))
        let all = try JSONSerialization.jsonObject(with: golden.json("trace")) as? [String: Any]
        let settings = try JSONSerialization.data(withJSONObject: #require(all?[kind]))
        try settings.write(to: URL(fileURLWithPath: folder.path("adapter_config.json")))

        let expected = try golden.output(kind)
        for (live, keeps) in [(false, false), (true, true)] {
            let weights = try LoRAWeights(
                DictionaryWeights(base),
                [LoRA.open(folder.path(""))],
                live: live,
                isStrict: true
            )
            let network = try WanTransformer(Weights(weights, keepsStorage: keeps), config)
            let flow = try network(
                golden.input("video"),
                timesteps: golden.input("timestep").to(.float32),
                text: network.text(golden.input("context"))
            )
            try expectClose(flow, expected, relative: 1e-4, absolute: 1e-4, "live: \(live)")
        }
        // The settings matter.
        if kind != "lokr_whole" {
            let plain = try LoRA(DictionaryWeights(adapter), name: kind)
            let key = "blocks.0.self_attn.q.weight"
            let unscaled = try weight(LoRAWeights(DictionaryWeights(base), [plain]), key)
            let scaled = try LoRAWeights(DictionaryWeights(base), [LoRA.open(folder.path(""))])
            #expect(try (weight(scaled, key) - unscaled).abs().max().item() > 1e-3)
        }
    }

    static let lycorisKinds = [
        "lokr", "lokr_both", "lokr_whole", "lokr_kernel", "lokr_tucker", "lokr_dora", "loha",
        "loha_kernel", "loha_tucker", "locon_tucker", "dora", "dora_inputs", "dora_square",
        "dora_kernel", "dora_kernel_inputs",
    ]

    @Test(arguments: lycorisKinds) func computesLikeLyCORIS(_ kind: String) throws {
        let golden = try Golden("lora_lycoris")
        let adapter = try golden.tensors(under: "adapter_\(kind)")
        let output = try golden.tensors(under: "output_\(kind)")
        let (key, expected) = try #require(output.first)
        func changed(_ strength: Double) throws -> LoRAWeights {
            let lora = try LoRA(DictionaryWeights(adapter), name: kind, strength: strength)
            return try LoRAWeights(DictionaryWeights(base), [lora], isStrict: true)
        }
        try expectClose(weight(changed(1), key), expected, relative: 1e-4, absolute: 1e-4, kind)
        // Any strength is between the weight without the adapter and with it.
        let plain = try #require(base[key])
        try expectClose(weight(changed(0), key), plain, absolute: 1e-6, kind)
        let quarter = try plain + (expected - plain) * 0.25
        try expectClose(weight(changed(0.25), key), quarter, relative: 1e-4, absolute: 1e-4, kind)
        for (other, tensor) in base where other != key {
            try expectClose(weight(changed(1), other), tensor, absolute: 0, other)
        }
    }

    /// Converted to ComfyUI's names, an adapter is the same.
    @Test(arguments: lycorisKinds, [LoRAFormat.comfyUI, .musubi])
    func converts(_ kind: String, _ format: LoRAFormat) throws {
        let golden = try Golden("lora_lycoris")
        let folder = try TemporaryDirectory()
        let (source, target) = (folder.path("a.safetensors"), folder.path("b.safetensors"))
        try Safetensors.write(golden.tensors(under: "adapter_\(kind)"), to: source)
        #expect(try LoRAConversion.convert(source, to: target, as: format) == nil)
        let (key, expected) = try #require(golden.tensors(under: "output_\(kind)").first)
        let written = try LoRAWeights(DictionaryWeights(base), [LoRA.open(target)], isStrict: true)
        try expectClose(weight(written, key), expected, relative: 1e-4, absolute: 1e-4)
        #expect(throws: SwanError.self) {
            try LoRAConversion.convert(source, to: folder.path("c.safetensors"), as: .peft)
        }
    }

    /// A DoRA's norms have one name in PEFT and another in ComfyUI.
    @Test func convertsPEFTsDoRA() throws {
        let golden = try Golden("lora_peft")
        let folder = try TemporaryDirectory()
        let (source, target) = (folder.path("a.safetensors"), folder.path("b.safetensors"))
        let settings = #"{"transformer.lora_alpha": 5, "transformer.r": 3}"#
        try Safetensors.write(
            golden.tensors(under: "adapter_dora"),
            metadata: ["lora_adapter_metadata": settings],
            to: source
        )
        #expect(try LoRAConversion.convert(source, to: target, as: .comfyUI) == nil)
        let kernel = try SafetensorsFile(path: target)
            .tensor("diffusion_model.patch_embedding.dora_scale")
        #expect(kernel.shape == [48, 1, 1, 1, 1])
        let before = try LoRAWeights(DictionaryWeights(base), [LoRA.open(source)])
        let after = try LoRAWeights(DictionaryWeights(base), [LoRA.open(target)])
        for key in base.keys {
            try expectClose(weight(after, key), weight(before, key), absolute: 1e-5, key)
        }
    }

    // MARK: - Whole values, other spellings of differences

    @Test func replacesWeights() throws {
        let generator = try Generator(seed: 3)
        let key = "patch_embedding.weight"
        let plain = try #require(base[key])
        let value = try Tensor.randn(plain.shape, generator)
        let down = try Tensor.randn([2, 48], generator)
        for name in [
            "base_model.model.patch_embedding.weight",
            "base_model.model.patch_embedding.modules_to_save.default.weight",
            "diffusion_model.patch_embedding.set_weight",
        ] {
            let keys = [
                name: value, "blocks.0.self_attn.q.lora_A.weight": down,
                "blocks.0.self_attn.q.lora_B.weight": try Tensor.zeros([48, 2]),
            ]
            let lora = try LoRA(DictionaryWeights(keys), name: "whole", strength: 0.5)
            let weights = try LoRAWeights(DictionaryWeights(base), [lora], isStrict: true)
            try expectClose(weight(weights, key), (plain + value) * 0.5, absolute: 1e-5, name)
        }
    }

    /// A model in place of a LoRA would replace everything.
    @Test func refusesAModel() {
        let error = #expect(throws: SwanError.self) {
            try LoRA(DictionaryWeights(base), name: "model.safetensors")
        }
        #expect(error?.message.contains("whole weights") ?? false, "\(error?.message ?? "")")
    }

    @Test func readsNormsAndModulations() throws {
        for (name, key) in [
            ("lycoris_blocks_0_norm3.w_norm", "blocks.0.norm3.weight"),
            ("lycoris_blocks_0_norm3.b_norm", "blocks.0.norm3.bias"),
            ("diffusion_model.blocks.1.modulation.diff", "blocks.1.modulation"),
            ("transformer.blocks.1.scale_shift_table.diff", "blocks.1.modulation"),
            ("diffusion_model.blocks.1.modulation.diff_m", "blocks.1.modulation"),
            ("head.modulation.diff", "head.modulation"),
        ] {
            let plain = try #require(base[key])
            let change = try Tensor.ones(plain.shape)
            let lora = try LoRA(DictionaryWeights([name: change]), name: name)
            let weights = try LoRAWeights(DictionaryWeights(base), [lora], isStrict: true)
            try expectClose(weight(weights, key), plain + 1, absolute: 1e-6, name)
        }
    }

    // MARK: - Refusals

    private func refusal(_ keys: [String: Tensor]) -> String {
        let error = failure {
            let lora = try LoRA(DictionaryWeights(keys), name: "x.safetensors")
            _ = try LoRAWeights(DictionaryWeights(base), [lora])
        }
        return error.map { "\($0)" } ?? "no error"
    }

    @Test func namesWhatIsMissing() throws {
        let q = "blocks.0.self_attn.q"
        let some = try Tensor.zeros([8, 8])
        #expect(
            refusal(["\(q).lokr_w1": some]).contains("its lokr_w2 (or lokr_w2_a and lokr_w2_b)")
        )
        #expect(refusal(["\(q).lokr_w2_a": some]).contains("its lokr_w1 (or"))
        #expect(refusal(["\(q).hada_w1_a": some]).contains("hada_w2_b is missing"))
        #expect(refusal(["\(q).dora_scale": some]).contains("nothing that it scales"))
        let wide = try Tensor.zeros([7, 7])
        #expect(
            refusal(["\(q).lokr_w1": some, "\(q).lokr_w2": wide])
                .contains("lokr_w1 [8, 8]: the weight is [48, 48]")
        )
        let endless = try Tensor.zeros([1 << 40, 0])
        #expect(
            refusal(["\(q).lokr_w1": endless, "\(q).lokr_w2": endless])
                .contains("lokr_w2 [1099511627776, 0]: the weight is [48, 48]")
        )
        let both = ["lokr_w1", "lokr_w2", "lora_A.weight", "lora_B.weight"]
        let mixed = Dictionary(uniqueKeysWithValues: both.map { ("\(q).\($0)", some) })
        #expect(refusal(mixed).contains("is of two kinds of change"))
        let norms = [
            "\(q).lora_A.weight": try Tensor.zeros([2, 48]), "\(q).dora_scale": some,
            "\(q).lora_B.weight": try Tensor.zeros([48, 2]),
        ]
        #expect(refusal(norms).contains("dora_scale [8, 8]: the weight is [48, 48]"))
    }

    @Test(arguments: [
        ("oft_blocks", "OFT"), ("oft_R.weight", "OFT"), ("boft_R", "BOFT"), ("a1.weight", "GLoRA"),
        ("ia3_l.default", "(IA)³"), ("lora_E", "AdaLoRA"), ("vera_lambda_b", "VeRA"),
    ])
    func namesOtherKinds(_ part: String, _ kind: String) throws {
        for module in ["lora_unet_blocks_0_self_attn_q", "diffusion_model.blocks.0.self_attn.q"] {
            let text = refusal(["\(module).\(part)": try Tensor.zeros([2, 2])])
            #expect(text.contains("belongs to \(kind); LoRA, DoRA"), "\(text)")
        }
    }
}
