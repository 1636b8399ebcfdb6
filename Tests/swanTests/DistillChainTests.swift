import Foundation
import GoldenSupport
import ModelSupport
import Testing

/// The way from a teacher of drawn scenes to a student that streams, command by command.
@Suite(.timeLimit(.minutes(3))) struct DistillChainTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    @discardableResult
    private func run(_ arguments: [String], code: Int32 = 0) throws -> Program.Outcome {
        let outcome = try Program(arguments).end()
        #expect(outcome.code == code, "\(arguments): \(outcome.messages)")
        return outcome
    }

    /// The settings of a shipped file, for a model of another size and a few steps.
    private func settings(_ name: String) throws -> String {
        let configs = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().appending(path: "configs")
        var text = try String(contentsOf: configs.appending(path: name), encoding: .utf8)
        for (old, new) in [
            ("out/tiny-t2v-ode", "regressed"), ("out/tiny-t2v\n", "teacher\n"),
            ("[1, 6, 48, 8, 8]", "[1, 4, 48, 4, 4]"), ("shot_frames: 6", "shot_frames: 4"),
            ("num_frame_per_block: 3", "num_frame_per_block: 2"),
            ("held_out_rows: 32", "held_out_rows: 1"), ("mixed_precision: true", ""),
            ("batch_size: 32", "batch_size: 2"), ("batch_size: 16", "batch_size: 2"),
            ("log_iters: 250", "log_iters: 2"), ("log_iters: 100", "log_iters: 2"),
        ] {
            text = text.replacingOccurrences(of: old, with: new)
        }
        let path = folder.path(name)
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    private func train(_ name: String, to output: String) throws {
        let arguments = [
            "train", try settings(name), "--data", folder.url.path, "--output",
            folder.path(output), "--max-steps", "2", "--device", "cpu",
        ]
        let outlined = try run(arguments + ["--dry-run"]).text
        #expect(outlined.contains("distillation: ") && outlined.contains("memory"), "\(outlined)")
        #expect(!FileManager.default.fileExists(atPath: folder.path(output)))
        try run(arguments)
    }

    @Test func teachersBecomeStudents() throws {
        let recipe = folder.path("recipe.yaml")
        try TinyTraining.textToVideoRecipe.write(toFile: recipe, atomically: true, encoding: .utf8)
        let teacher = folder.path("teacher")
        try run(["train", recipe, "--output", teacher, "--device", "cpu"])
        let prompts = folder.path("prompts.txt")
        try run(["data", "prompts", prompts, "--count", "3"])
        let lines = try String(contentsOfFile: prompts, encoding: .utf8).split(separator: "\n")
        #expect(lines.count == 3)
        #expect(try Program(["data", "prompts", prompts]).end().code != 0)
        try run([
            "data", "pairs", prompts, folder.path("pairs"), "--model", teacher, "--steps", "20",
            "--shift", "3", "--guidance", "2", "--timesteps", "1000,750,500,250,0", "--device",
            "cpu",
        ])
        try run(["data", "pack", folder.path("pairs"), folder.path("pairs.lmdb")])
        try train("tiny-t2v-ode.yaml", to: "regressed")
        try train("tiny-t2v-student.yaml", to: "student")
        try streamsAndGenerates(folder.path("student"))
        try isMeasured(folder.path("student"), teacher, folder.path("regressed"))
    }

    private func streamsAndGenerates(_ student: String) throws {
        let stream = try String(contentsOfFile: student + "/stream.yaml", encoding: .utf8)
        for line in ["context_noise: 0", "shot_frames: 4", "num_sink_tokens: 0", "height: 32"] {
            #expect(stream.contains(line + "\n"), "\(stream)")
        }
        let generated = try run([
            "generate", "--model", student, "--prompt", "a red ball rolls left", "--device", "cpu",
            "-o", folder.path("ball.mkv"),
        ])
        #expect(generated.messages.contains("13 frames of 32x32"), "\(generated.messages)")
        #expect(generated.messages.contains("4 steps"), "\(generated.messages)")
        let streamed = try run([
            "stream", "--model", student, "--prompt", "a red ball rolls left", "--prompt-at",
            "20=a blue ring moves up on white", "--max-frames", "40", "--device", "cpu", "-o",
            folder.path("stream.mkv"), "--json", folder.path("stream.json"),
        ])
        #expect(streamed.messages.contains("40 frames of 32x32"), "\(streamed.messages)")
        // A causal model takes no guidance.
        let refused = try Program([
            "generate", "--model", student, "--prompt", "a ball", "--guidance", "3", "-o",
            folder.path("none.mkv"),
        ]).end()
        #expect(refused.code != 0 && refused.messages.contains("guidance"))
    }

    private func isMeasured(_ student: String, _ teacher: String, _ regressed: String) throws {
        let measured = try run(
            [
                "bench", "distill", "--model", student, "--teacher", teacher, "--ode", regressed,
                "--prompts", "2", "--streams", "1", "--stream-frames", "210", "--device", "cpu",
                "--json", "--check", "--sheet", folder.path("sheet.png"),
            ],
            // Nothing is learned in two steps.
            code: 65
        )
        let report = try StreamTests.fields(measured.output)
        let figures = try #require(report["figures"] as? [[String: Any]])
        let names = Set(figures.compactMap { $0["name"] as? String })
        let expected: Set = [
            "teacher_met", "causal_sharpness", "ode_sharpness", "student_1_sharpness",
            "student_2_contrast", "student_4_met", "student_1_speed", "restyle_structure_gain",
            "restyle_met_gain", "stream_sharpness", "stream_contrast", "stream_met",
        ]
        #expect(expected.isSubset(of: names), "\(names)")
        for name in ["student_1_sharpness", "student_2_contrast", "stream_contrast"] {
            let value = figures.first { $0["name"] as? String == name }?["value"] as? Double
            #expect(value ?? 0 > 0, "\(name)")
        }
    }

    @Test(arguments: [
        (["--prompts", "0"], "number of prompts"), (["--stream-frames", "100"], "stream"),
        (["--sheet", "a.jpg"], ".png"), ([], "causal model"),
    ])
    func invalidOptionsAreRefused(options: [String], word: String) throws {
        let base = ["bench", "distill", "--model", "tiny", "--teacher", "tiny"]
        let outcome = try Program(base + options).end()
        #expect(outcome.code != 0 && outcome.messages.contains(word), "\(outcome.messages)")
    }
}
