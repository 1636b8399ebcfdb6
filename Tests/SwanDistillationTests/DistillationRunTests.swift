import Foundation
import GoldenSupport
import SwanCheckpoints
import SwanSystem
import SwanThreads
import SwanTraining
import Testing
import Torch

@testable import SwanDistillation

/// Runs distillations of a tiny model from their files to their folders.
@Suite struct DistillationRunTests {
    /// A loss and the keys that it needs.
    struct Recipe: Sendable, CustomTestStringConvertible {
        let loss: String
        var states = 1
        var changes: [String: String] = [:]

        var testDescription: String { loss + changes.keys.sorted().joined(separator: ", ") }

        static let all = [
            Recipe(loss: "dmd"),
            Recipe(
                loss: "dmd",
                changes: [
                    "denoising_step_list": "[1000, 500, 0]", "warp_denoising_step": "true",
                    "denoising_loss_type": "x0", "gradient_checkpointing": "true",
                    "train_window": "true", "num_kv_cache": "4", "num_sink_tokens": "2",
                    "fake_guidance_scale": "0.5", "gradient_accumulation_steps": "2",
                ]
            ),
            Recipe(
                loss: "dmd",
                changes: [
                    "generator_name": "wan", "generator_task": "bidirectional_video",
                    "denoising_step_list": "[1000, 757, 522]", "backward_simulation": "true",
                    "data_path": "prompts.txt", "batch_size": "1", "ema_weight": "0.5",
                    "ema_start_step": "3",
                ]
            ),
            Recipe(loss: "ode", states: 3, changes: ["held_out_rows": "1"]),
            Recipe(
                loss: "self_forcing",
                changes: [
                    "denoising_step_list": "[1000, 500]", "warp_denoising_step": "true",
                    "backward_simulation": "true", "data_path": "prompts.txt",
                    "gradient_checkpointing": "true", "ts_schedule": "true",
                    "same_step_across_blocks": "true", "lr_critic": "4e-4",
                    "num_training_frames": "8", "batch_size": "1",
                ]
            ),
            Recipe(
                loss: "sid",
                changes: [
                    "denoising_step_list": "[1000, 500]", "backward_simulation": "true",
                    "data_path": "prompts.txt",
                ]
            ),
        ]
    }

    /// Ends with the same bits, killed or not.
    @Test(.timeLimit(.minutes(10)), arguments: Recipe.all)
    func resumes(recipe: Recipe) throws {
        let tiny = try TinyDistillation()
        try tiny.writeLatents(states: recipe.states)
        let file = try tiny.file(recipe.loss, recipe.changes)
        try Distillation.run(file, tiny.options("whole", steps: 5))
        let stop = CancellationFlag()
        var options = tiny.options("parts", steps: 5)
        _ = stop.cancel()
        #expect(throws: SwanError.self) { try Distillation.run(file, options, stop: stop) }
        // The checkpoint of a run that ended earlier is continued.
        options.resume = true
        options.maximumSteps = 3
        try Distillation.run(file, options)
        options.maximumSteps = 5
        try Distillation.run(file, options)
        let whole = try tiny.generator(of: "whole")
        #expect(try tiny.generator(of: "parts") == whole)
        let started = try tiny.generator(of: "model")
        #expect(whole.keys == started.keys && whole != started)
        #expect(whole.values.joined().allSatisfy { $0.isFinite })
    }

    /// The folder is a model that streams, with the steps it was trained for.
    @Test func writesAModel() throws {
        let tiny = try TinyDistillation()
        try tiny.writeLatents()
        let file = try tiny.file("dmd", ["num_kv_cache": "6", "num_sink_tokens": "2"])
        try Distillation.run(file, tiny.options("student", steps: 1))
        // What the losses compare, decoded.
        let samples = try FileManager.default.contentsOfDirectory(
            atPath: tiny.directory.path("student/samples")
        )
        #expect(samples.sorted() == ["dmd-critictrain-00000001.png", "dmd-dmdtrain-00000001.png"])
        let folder = try ModelFolder(tiny.directory.path("student"))
        try folder.require(ModelFolder.Part.ofEveryModel)
        let stream = try folder.configuration()
        #expect(stream.steps == [900, 400] && stream.shift == 8 && stream.framesPerBlock == 2)
        #expect(stream.cacheFrames == 6 && stream.sinkFrames == 2)
    }

    /// Held-out rows are the last ones; they are measured with the same draws each time.
    @Test func measuresHeldOutRows() throws {
        let tiny = try TinyDistillation()
        try tiny.writeLatents(states: 3)
        let rows = try SafetensorsRows(tiny.directory.path("latents.safetensors"))
        let maker = try BatchMaker(.rows(rows), size: 2, limit: 99, heldOut: 1, seed: 4) {
            prompts in
            try Tensor(prompts.map { Float($0.count) }, [prompts.count, 1, 1])
        }
        // The lengths of "a red ball", "a cat" and "rain".
        let trained = try (0..<4).flatMap { step -> [Float] in
            try maker.batch(BatchPlace(step: step)).text.array()
        }
        #expect(trained.count { $0 == 10 } == 4 && trained.count { $0 == 5 } == 4)
        let held = try maker.heldOut(BatchPlace(step: 0))
        #expect(try held.text.array() == [Float(4)])
        #expect(held.states?.shape == [1, 3, 8, 4, 4, 4])

        let options = tiny.options("student", steps: 4)
        try Distillation.run(tiny.file("ode", ["held_out_rows": "1"]), options)
        let events = URL(fileURLWithPath: options.output + "/events/ode")
        let files = try FileManager.default.contentsOfDirectory(atPath: events.path)
        let data = try files.map { try Data(contentsOf: events.appending(path: $0)) }
        let tag = Data("ode/held_out_generator_loss".utf8)
        #expect(data.count { $0.range(of: tag) != nil } == 1)
    }

    /// With a cache, the bits are the same, and a second run needs no text encoder.
    @Test func encodesPromptsOnce() throws {
        let tiny = try TinyDistillation()
        try tiny.writeLatents()
        try Distillation.run(tiny.file("dmd"), tiny.options("plain", steps: 3))
        let cached = ["text_cache": "text"]
        try Distillation.run(tiny.file("dmd", cached), tiny.options("first", steps: 3))
        let names = try FileManager.default.subpathsOfDirectory(
            atPath: tiny.directory.path("text")
        )
        // Three prompts and the negative one.
        #expect(names.count { $0.hasSuffix(".safetensors") } == 4)
        #expect(try tiny.generator(of: "first") == tiny.generator(of: "plain"))
        var notes: [String] = []
        try Distillation.run(
            tiny.file("dmd", cached),
            tiny.options("second", steps: 3),
            onNote: { notes.append($0) }
        )
        #expect(try tiny.generator(of: "second") == tiny.generator(of: "plain"))
        #expect(notes.count == 1 && notes[0].hasPrefix("memory: about "), "\(notes)")
    }

    /// The message says what would fit; nothing is written.
    @Test func refusesWhatCannotFit() throws {
        let tiny = try TinyDistillation()
        let file = try tiny.file(
            "dmd",
            [
                "generator_name": "wan", "generator_task": "bidirectional_video",
                "denoising_step_list": "[1000, 500]", "backward_simulation": "true",
                "data_path": "prompts.txt", "image_or_video_shape": "[1, 4000, 8, 8000, 8000]",
            ]
        )
        let error = #expect(throws: SwanError.self) {
            try Distillation.run(file, tiny.options("student", steps: 1))
        }
        #expect(error?.code == .outOfMemory)
        #expect(error?.message.contains("What would fit: ") ?? false, "\(error?.message ?? "")")
        #expect(error?.message.contains("activations") ?? false)
        let names = try FileManager.default.contentsOfDirectory(atPath: tiny.directory.url.path)
        #expect(!names.contains("student"))
    }

    @Test func refusesAnotherRunsFolder() throws {
        let tiny = try TinyDistillation()
        try tiny.writeLatents()
        var options = tiny.options("student", steps: 1)
        try Distillation.run(tiny.file("dmd"), options)
        var error = #expect(throws: SwanError.self) {
            try Distillation.run(tiny.file("dmd"), options)
        }
        #expect(error?.message.contains("--resume") ?? false)
        options.resume = true
        error = #expect(throws: SwanError.self) {
            try Distillation.run(tiny.file("dmd", ["lr": "0.1"]), options)
        }
        #expect(error?.message.contains("differ") ?? false)
        try Distillation.run(tiny.file("dmd", ["log_iters": "7"]), options)
    }

    @Test func savesNothingUnlessAsked() throws {
        let tiny = try TinyDistillation()
        try tiny.writeLatents()
        var options = tiny.options("student", steps: 2)
        options.saves = false
        options.draws = false
        try Distillation.run(tiny.file("dmd"), options)
        let names = try FileManager.default.contentsOfDirectory(atPath: options.output)
        #expect(
            !names.contains("checkpoints") && !names.contains("samples")
                && names.contains("transformer")
        )
    }

    /// What data and settings say must agree; the message names the key.
    @Test(arguments: [
        (["image_or_video_shape": "[1, 6, 8, 4, 4]"], "image_or_video_shape"),
        (["denoising_step_list": "[900, 600, 300, 0]", "distillation_loss": "ode"], "1 states"),
        (["data_path": "prompts.txt"], "prompts.txt: is not a database"),
        (["data_path": "none.safetensors"], "none.safetensors"),
        (["model_path": "nowhere"], "nowhere"), (["held_out_rows": "3"], "held_out_rows"),
    ])
    func refusesWhatDoesNotFit(changes: [String: String], words: String) throws {
        let tiny = try TinyDistillation()
        try tiny.writeLatents()
        let file = try tiny.file("dmd", changes)
        let error = #expect(throws: SwanError.self) {
            try Distillation.run(file, tiny.options("student", steps: 1))
        }
        #expect(error?.message.contains(words) ?? false, "\(error?.message ?? "")")
    }
}
