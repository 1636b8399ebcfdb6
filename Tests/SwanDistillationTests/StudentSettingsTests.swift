import Foundation
import GoldenSupport
import SwanModels
import SwanSystem
import SwanTraining
import Testing
import Torch

@testable import SwanDistillation

struct StudentSettingsTests {
    private static let least = """
        teacher_path: a
        data_path: b
        student_config: {hidden_size: 8, depth: 1, num_heads: 2, num_channels: 4}

        """

    @Test func defaultsAreThoseOfTheReference() throws {
        let settings = try StudentSettings(yaml: Self.least)
        #expect(settings.batch == 2 && settings.steps == 500 && settings.epochs == 10)
        #expect(settings.rate == 1e-5 && settings.teacherDType == .float32)
        #expect(settings.strategy == nil && settings.sampleInterval == 1)
        let optimizer = settings.optimizer(ranks: 3)
        #expect(optimizer.betas == [0.9, 0.999] && optimizer.weightDecay == 0.01)
        #expect(optimizer.maximumGradientNorm == .infinity && optimizer.microBatches == 3)
        #expect(optimizer.learningRate(step: 400, of: 500) == 1e-5)
        // Positions are right unless what was published is asked for.
        #expect(settings.student.positions == .rope)
        let published = try StudentSettings(yaml: Self.least + "parity: true\n")
        #expect(published.student.positions == .none)
        #expect(published.student.imageSize == 1_024 && published.student.patchSize == 16)
    }

    /// An epoch has every row once; the run ends with its steps or its epochs.
    @Test func endsWithStepsOrEpochs() throws {
        var settings = try StudentSettings(yaml: Self.least)
        #expect(settings.stepCount(rows: 5, ranks: 1) == 30)
        #expect(settings.stepCount(rows: 5, ranks: 2) == 20)
        settings.accumulation = 3
        #expect(settings.stepCount(rows: 5, ranks: 1) == 10)
        settings.steps = 7
        #expect(settings.stepCount(rows: 5, ranks: 1) == 7)
    }

    @Test func deadKeysAreSaidToBeDead() throws {
        let settings = try StudentSettings(
            yaml: Self.least.replacing("4}", with: "4, text_max_length: 77}") + """
                output_dir: x
                num_workers: 4
                mixed_precision: true
                local_rank: 0
                multi_gpu: true
                teacher_on_cpu: true
                """
        )
        let notes = settings.notes.joined(separator: "\n")
        for name in [
            "output_dir", "num_workers", "mixed_precision", "local_rank, multi_gpu",
            "text_max_length",
        ] {
            #expect(notes.contains(name), "\(notes)")
        }
        #expect(settings.strategy == .cpu)
    }

    @Test(arguments: [
        ("num_step: 3", "did you mean 'num_steps'"), ("teacher_dtype: int8", "float32"),
        ("teacher_device_strategy: gpu", "auto, balanced, gpu0, cpu"), ("lr: -1", "lr"),
        ("projection_method: cut", "truncate, svd, average, none"), ("batch_size: 0", "batch_size"),
        ("zzz: 1", "unknown key 'zzz'"), ("teacher_path: null", "'teacher_path' is missing"),
        ("student_config: {hidden_sise: 8}", "did you mean 'hidden_size'"),
        ("student_config: {hidden_size: 9, depth: 1, num_heads: 2, num_channels: 4}", "multiple"),
        ("student_config: {hidden_size: 8}", "student_config"), ("student_config: 3", "path"),
    ])
    func refuses(line: String, words: String) {
        let key = line.prefix { $0 != ":" } + ":"
        let others = Self.least.split(separator: "\n").filter { !$0.hasPrefix(key) }
        let text = (others + [line[...]]).joined(separator: "\n")
        let error = #expect(throws: SwanError.self) { try StudentSettings(yaml: text) }
        #expect(error?.code == .invalidRecipe)
        #expect(error?.message.contains(words) ?? false, "\(error?.message ?? "")")
    }

    /// Options replace keys, and a student's sizes may be in a file of their own.
    @Test func optionsReplaceKeys() throws {
        let folder = try TemporaryDirectory()
        let json =
            #"{"model_type": "WanLiteStudent", "hidden_size": 16, "depth": 3, "num_heads": 2, "#
            + #""num_channels": 4, "projection_factor": 1.0}"#
        _ = try folder.file("student.json", text: json)
        let path = try folder.file("run.yaml", text: "data_path: b\nlr: 1e-3\n")
        #expect(try StudentSettings.File(path, root: folder.url.path) == nil)
        let file = try #require(
            try StudentSettings.File(
                path,
                [
                    "student_config": ["student.json"], "teacher_path": ["t"], "num_steps": ["9"],
                    "gradient_checkpointing": ["true"], "sample_prompts": ["a cat", "5"],
                ],
                root: folder.url.path
            )
        )
        let settings = file.settings
        #expect(settings.student.hiddenSize == 16 && settings.student.depth == 3)
        #expect(settings.steps == 9 && settings.rate == 1e-3 && settings.teacherPath == "t")
        #expect(settings.checkpointsGradients && settings.samplePrompts == ["a cat", "5"])
        // The copy in the output folder has them all.
        #expect(try StudentSettings(yaml: file.text) == settings)
        let error = #expect(throws: SwanError.self) {
            try StudentSettings.File(
                path,
                ["student_config": ["none.json"], "teacher_path": ["t"]],
                root: folder.url.path
            )
        }
        #expect(error?.message.contains("none.json") ?? false)
    }
}
