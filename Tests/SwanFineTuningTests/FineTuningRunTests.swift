import Foundation
import GoldenSupport
import ModelSupport
import SwanCheckpoints
import SwanPipelines
import SwanSystem
import SwanThreads
import SwanTraining
import Testing
import Torch

@testable import SwanFineTuning

/// Runs fine-tunings of tiny models from their files to their folders.
@Suite struct FineTuningRunTests {
    /// Ends with the same bits, stopped or not; checkpoints have no weights of the model.
    @Test(
        .timeLimit(.minutes(10)),
        arguments: [
            [:],
            [
                "num_frame_per_block": "2", "num_kv_cache": "4", "ema_weight": "0.5",
                "gradient_checkpointing": "true", "gradient_accumulation_steps": "2",
                "timestep_sampling": "logit_normal", "loss_weighting": "bell",
                "base_dtype": "bfloat16", "save_format": "peft", "held_out_rows": "1",
                "lr_decay_from": "0.5", "max_steps": "5", "warmup_steps": "2",
            ],
            ["fine_tuning": "full", "lr": "1.0e-3", "timestep_sampling": "mode"],
        ] as [[String: String]]
    )
    func resumes(changes: [String: String]) throws {
        let tiny = try TinyTuning()
        let file = try tiny.file(changes)
        try FineTuning.run(file, tiny.options("whole", steps: 5))
        let stop = CancellationFlag()
        var options = tiny.options("parts", steps: 5)
        _ = stop.cancel()
        #expect(throws: SwanError.self) { try FineTuning.run(file, options, stop: stop) }
        options.resume = true
        if changes["lr_decay_from"] == nil {
            options.maximumSteps = 3
            try FineTuning.run(file, options)
            options.maximumSteps = 5
        }
        try FineTuning.run(file, options)
        let isFull = changes["fine_tuning"] == "full"
        let name =
            isFull ? "transformer/diffusion_pytorch_model.safetensors" : "lora.safetensors"
        let whole = try tiny.numbers("whole/\(name)")
        #expect(try tiny.numbers("parts/\(name)") == whole)
        #expect(whole.values.joined().allSatisfy { $0.isFinite })
        guard !isFull else {
            #expect(try whole != tiny.numbers("model/\(name)"))
            return try ModelFolder(tiny.directory.path("whole"))
                .require(ModelFolder.Part.ofEveryModel)
        }
        let up = whole.filter { $0.key.contains("lora_B") || $0.key.contains("lora_up") }
        #expect(!up.isEmpty)
        for (key, values) in up { #expect(values.contains { $0 != 0 }, "\(key)") }
        let saved = try SafetensorsFile(
            path: tiny.directory.path("whole/checkpoints/lora/step-00000005.safetensors")
        )
        #expect(saved.keys.allSatisfy { $0.contains("lora_") })
    }

    /// Each kind of model: videos in two buckets, a step, and a LoRA that `swan generate` reads.
    @Test(.timeLimit(.minutes(10)), arguments: RandomCheckpoint.Model.allCases)
    func trainsEveryFamily(_ model: RandomCheckpoint.Model) throws {
        let tiny = try TinyTuning(model)
        let file = try tiny.file([
            "data": "[{path: clips, repeats: 2}]", "buckets": "[96x64x5, 64x96x5, 64x64x9]",
            "gradient_accumulation_steps": "2", "save_format": "musubi",
        ])
        let options = tiny.options("lora", steps: 2)
        guard model != .controlToVideo else {
            let error = #expect(throws: SwanError.self) { try FineTuning.run(file, options) }
            #expect(error?.message.contains("VACE") ?? false)
            return
        }
        try FineTuning.run(file, options)
        let cached = try FileManager.default.contentsOfDirectory(
            atPath: tiny.directory.path("lora/cache")
        )
        #expect(cached.count == 2)
        let names =
            model.hasExperts
            ? ["lora-high-noise.safetensors", "lora-low-noise.safetensors"]
            : ["lora.safetensors"]
        for (index, name) in names.enumerated() {
            var generation = GenerationOptions()
            generation.loras = [
                .init(
                    tiny.directory.path("lora/\(name)"),
                    expert: model.hasExperts
                        ? [.transformer, .lowNoiseTransformer][index] : nil
                )
            ]
            _ = try GenerationModel(tiny.directory.path("model"), options: generation)
        }
    }

    /// A changed caption or video is encoded again, others are not; short ones are left out.
    @Test func keepsTheCacheCurrent() throws {
        let tiny = try TinyTuning(.textToVideo)
        try tiny.writeVideo("clips/short.mp4", width: 64, height: 64, frames: 3, "a flash")
        let file = try tiny.file(["data": "[clips]", "buckets": "[64x64x5]", "cache_path": "kept"])
        func notes(_ output: String) throws -> [String] {
            let notes = Notes()
            try FineTuning.run(file, tiny.options(output, steps: 1), note: notes.add)
            return notes.all
        }
        let first = try notes("one")
        #expect(first.count { $0.contains("encoded") } == 2)
        #expect(first.count { $0.contains("short.mp4: is too short") } == 1)
        #expect(try notes("two").count { $0.contains("encoded") } == 0)
        _ = try tiny.directory.file("clips/tall.txt", text: "another caption")
        let third = try notes("three").filter { $0.contains("encoded") }
        #expect(third.count == 1 && third[0].contains("tall.mp4"))
    }

    private final class Notes: @unchecked Sendable {
        private(set) var all: [String] = []
        func add(_ text: String) { all.append(text) }
    }

    /// Previews are videos of the ordinary pipelines, and held-out rows give a curve.
    @Test(.timeLimit(.minutes(10)), arguments: [nil, "lora", "full"])
    func showsHowTrainingGoes(kind: String?) throws {
        // nil is a LoRA for a live model.
        let tiny = try kind == nil ? TinyTuning() : TinyTuning(.textToVideo)
        _ = try tiny.directory.file("prompts.txt", text: "a red ball\na cat\n")
        let stage = kind ?? "lora"
        let file = try tiny.file([
            "fine_tuning": stage, "data": kind == nil ? "[latents.safetensors]" : "[clips]",
            "buckets": "[64x64x5]", "held_out_rows": "1", "sample_prompts": "prompts.txt",
            "sample_every_steps": "1", "sample_steps": kind == nil ? "" : "2",
            "sample_size": "64x64x5",
        ])
        try FineTuning.run(file, tiny.options("out", steps: 2))
        let samples = try FileManager.default.contentsOfDirectory(
            atPath: tiny.directory.path("out/samples")
        )
        #expect(samples.count { $0.hasSuffix(".mp4") } == 4)
        #expect(samples.contains("\(stage)-00000002.png"))
        let names = try FileManager.default.contentsOfDirectory(
            atPath: tiny.directory.path("out")
        )
        #expect(names.contains(kind == "full" ? "transformer" : "lora-1.safetensors"))
        let events = tiny.directory.path("out/events/\(stage)")
        let data = try FileManager.default.contentsOfDirectory(atPath: events)
            .map { try Data(contentsOf: URL(fileURLWithPath: "\(events)/\($0)")) }
        let tag = Data("\(stage)/held_out_loss".utf8)
        #expect(data.contains { $0.range(of: tag) != nil })
    }

    /// A LoRA learns what it is trained on: the loss on two rows falls.
    @Test func learns() throws {
        let tiny = try TinyTuning()
        let file = try tiny.file(["lr": "2.0e-2", "rank": "8", "prompt_dropout": "0"])
        let losses = Losses()
        try FineTuning.run(file, tiny.options("lora", steps: 1), onProgress: losses.add)
        try FineTuning.run(file, tiny.options("more", steps: 60), onProgress: losses.add)
        let (first, last) = (try #require(losses.all.first), try #require(losses.all.last))
        #expect(last < 0.9 * first)
    }

    private final class Losses: @unchecked Sendable {
        private(set) var all: [Double] = []
        func add(_ progress: TrainingProgress) { all.append(progress.losses["loss"] ?? .nan) }
    }

    @Test(arguments: [
        (["ranks": "3"], "did you mean 'rank'"), (["rank": "0"], "rank"),
        (["targets": "[to_z]"], "'to_z'"), (["data": "[]"], "data"),
        (["data": "[nothing.safetensors]"], "nothing.safetensors"),
        (["model_path": "nowhere"], "nowhere"), (["expert": "high"], "one transformer"),
        (["held_out_rows": "3"], "held_out_rows"), (["batch_size": "2.5"], "batch_size"),
        (["min_timestep": "900", "max_timestep": "100"], "min_timestep"),
        (["timestep_sampling": "normal"], "timestep_sampling"), (["lr": "fast"], "lr"),
        (["fine_tuning": "full", "base_dtype": "bfloat16"], "base_dtype"),
        (["buckets": "[64x64x4]", "data": "[clips]"], "64x64x4"),
        (["model_path": ""], "'model_path' is missing"), (["betas": "[0.9, 1]"], "betas"),
    ])
    func refuses(changes: [String: String], words: String) throws {
        let tiny = try TinyTuning()
        let error = #expect(throws: SwanError.self) {
            var changes = changes
            if changes["expert"] != nil {
                let model = tiny.directory.path("generating")
                _ = try RandomCheckpoint(.textToVideo, .diffusers, at: model)
                try tiny.writeLatents(channels: 16)
                changes["model_path"] = model
            }
            try FineTuning.run(tiny.file(changes), tiny.options("out", steps: 1))
        }
        #expect(error?.message.contains(words) ?? false, "\(error?.message ?? "")")
    }

    @Test func refusesAnotherRunsFolder() throws {
        let tiny = try TinyTuning()
        var options = tiny.options("lora", steps: 1)
        try FineTuning.run(tiny.file(), options)
        var error = #expect(throws: SwanError.self) { try FineTuning.run(tiny.file(), options) }
        #expect(error?.message.contains("--resume") ?? false)
        options.resume = true
        error = #expect(throws: SwanError.self) {
            try FineTuning.run(tiny.file(["lr": "0.1"]), options)
        }
        #expect(error?.message.contains("differ") ?? false)
        try FineTuning.run(tiny.file(["save_every_steps": "9"]), options)
    }
}
