import Foundation
import GoldenSupport
import SwanCheckpoints
import SwanSystem
import Testing

@testable import SwanDistillation

/// Reads the references' keys: their files as published, damage included.
@Suite struct DistillationSettingsTests {
    private static let names = [
        "wan_causal_ode", "wan_bidirectional_dmd", "wan_bidirectional_dmd_from_scratch",
        "wan_causal_dmd_v2v", "wan_causal_dmd_v2v_14b", "wan_causal_dmd_warp_4step_cfg2",
    ]

    private func text(_ name: String) throws -> String {
        let folder = URL(fileURLWithPath: Golden.path("README.md")).deletingLastPathComponent()
        let url = folder.deletingLastPathComponent().appending(path: "configs/\(name).yaml")
        return try String(contentsOf: url, encoding: .utf8)
    }

    /// The keys that the references' files have besides, and their damaged negative prompt.
    private func published(_ text: String) -> String {
        let bytes = Array(WanVariant.Defaults.ownNegativePrompt.utf8)
        let damaged = bytes.compactMap { byte -> String? in
            [0x81, 0x8D, 0x8F, 0x90, 0x9D].contains(byte)
                ? nil : String(data: Data([byte]), encoding: .windowsCP1252)
        }
        let lines = text.split(separator: "\n").map { line in
            line.hasPrefix("negative_prompt")
                ? "negative_prompt: '\(damaged.joined())'" : String(line)
        }
        let dead = [
            "generator_fsdp_wrap_strategy: size", "text_encoder_fsdp_wrap_strategy: size",
            "wandb_host: WANDB_HOST", "wandb_key: WANDB_KEY", "output_path: /mnt/localssd/wan",
        ]
        return (lines + dead).joined(separator: "\n")
    }

    @Test(arguments: names) func publishedFiles(name: String) throws {
        let plain = try DistillationSettings(yaml: text(name))
        var settings = try DistillationSettings(yaml: published(text(name)))
        #expect(plain.notes.isEmpty, "\(plain.notes)")
        let dead = settings.notes.filter { $0.hasPrefix("no effect of") }
        #expect(dead.count == 3 && dead.contains { $0.contains("wandb_host, wandb_key: ") })
        if !plain.negativePrompt.isEmpty {
            #expect(settings.negativePrompt == WanVariant.Defaults.ownNegativePrompt)
            #expect(settings.notes.contains { $0.contains("damaged") })
        }
        settings.notes = []
        #expect(settings == plain)
    }

    @Test func valuesOfCausalDMD() throws {
        let settings = try DistillationSettings(yaml: text("wan_causal_dmd_warp_4step_cfg2"))
        #expect(settings.generator == .causalWan && settings.real == .wan && settings.fake == .wan)
        #expect(settings.steps == [1000, 750, 500, 250, 0] && settings.warpsSteps)
        #expect(settings.realGuidance == 2 && settings.framesPerBlock == 3)
        #expect(settings.generatorOptimizer.rate == 2e-6)
        #expect(settings.criticOptimizer.betas == [0.9, 0.999])
        #expect(settings.ratio == 5 && settings.usesBFloat16 && !settings.isSimulated)
        #expect(settings.causalView == .init(framesPerBlock: 3))
        let ode = try DistillationSettings(yaml: text("wan_causal_ode"))
        #expect(ode.loss == .ode && ode.generator == .causalWan && ode.batch == 2)
    }

    @Test func laterKeysOverrideTheirDefaults() throws {
        let base = try text("wan_causal_dmd_v2v")
        let settings = try DistillationSettings(
            yaml: "lr_critic: 4e-7\nbeta1_critic: 0.0\ntrain_window: true\n" + base
        )
        #expect(settings.criticOptimizer.rate == 4e-7 && settings.criticOptimizer.betas[0] == 0)
        #expect(settings.generatorOptimizer.betas[0] == 0.9)
        #expect(settings.causalView == .init(framesPerBlock: 1, window: 6, sinks: 3))
    }

    /// One shift for table and scores; as published, the table's is always 8, and scores have none.
    @Test func shifts() throws {
        let lines = try text("wan_causal_dmd_v2v").split(separator: "\n")
            .filter { !$0.hasPrefix("timestep_shift") }.joined(separator: "\n")
        let silent = try DistillationSettings(yaml: lines)
        #expect(silent.tableShift == 8 && silent.scoreShift == 8)
        let published = try DistillationSettings(yaml: lines + "\nparity: true")
        #expect(published.tableShift == 8 && published.scoreShift == 1)
        let five = try DistillationSettings(yaml: lines + "\ntimestep_shift: 5")
        #expect(five.tableShift == 5 && five.scoreShift == 5)
    }

    @Test(arguments: [
        ("dfake_gen_update_ratio: 5", "dfake_gen_update_ration: 5", "dfake_gen_update_ratio"),
        ("num_frame_per_block: 1", "num_frames_per_block: 1", "num_frame_per_block"),
        ("seed: 0", "seed: zero", "seed"),
        ("lr: 2.0e-06", "lr: fast", "lr"),
        ("denoising_loss_type: flow", "denoising_loss_type: noise", "flow or x0"),
        ("generator_name: causal_wan", "generator_name: sdxl", "SDXL"),
        ("real_score_grad: {model: false}", "real_score_grad: {model: true}", "real_score_grad"),
        ("num_frame_per_block: 1", "num_frame_per_block: 4", "num_frame_per_block 4"),
        ("num_train_timestep: 1000", "num_train_timestep: 500", "1000"),
        ("[700, 500, 0]", "[500, 700, 0]", "denoising_step_list"),
        ("backward_simulation: false", "backward_simulation: true", "self_forcing"),
        ("distillation_loss: dmd", "is_repa: false", "distillation_loss"),
        ("num_kv_cache: 6", "train_window: true", "train_window"),
        ("num_kv_cache: 6", "is_repa: true", "REPA"),
        ("seed: 0", "num_training_frames: 30", "num_training_frames"),
    ])
    func refuses(old: String, new: String, words: String) throws {
        let text = try text("wan_causal_dmd_v2v")
        #expect(text.contains(old))
        let error = #expect(throws: SwanError.self) {
            try DistillationSettings(yaml: text.replacing(old, with: new))
        }
        #expect(error?.code == .invalidRecipe)
        #expect(error?.message.contains(words) ?? false, "\(error?.message ?? "")")
    }

    /// Text that lost no bytes is read as it was meant; plain Latin text stays as it is.
    @Test func negativePrompts() throws {
        let misread = try #require(String(data: Data("模糊清".utf8), encoding: .windowsCP1252))
        let read = NegativePrompt(misread)
        #expect(read.text == "模糊清" && read.note != nil)
        for text in ["", "flou, déformé, mal dessiné", "模糊", "blurry"] {
            #expect(NegativePrompt(text).text == text && NegativePrompt(text).note == nil)
        }
    }
}
