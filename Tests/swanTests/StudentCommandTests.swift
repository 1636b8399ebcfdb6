import Foundation
import GoldenSupport
import ModelSupport
import SwanMedia
import Testing

/// The way of a student for pictures: `swan train`, `swan generate`, `swan bench tiny-t2v`.
@Suite(.timeLimit(.minutes(2))) struct StudentCommandTests {
    private static let file = """
        data_path: prompts.txt
        teacher_steps: 2
        num_workers: 3
        student_config:
          {hidden_size: 16, depth: 1, num_heads: 2, num_channels: 16, image_size: 32,
          text_encoder_output_dim: 16}

        """

    private func folder() throws -> TemporaryDirectory {
        let folder = try TemporaryDirectory()
        _ = try RandomCheckpoint(.textToVideoExperts, .original, at: folder.path("teacher"))
        _ = try folder.file("prompts.txt", text: "a red ball\na cat\nfog\n")
        _ = try folder.file("student.yaml", text: Self.file)
        return folder
    }

    private func run(_ folder: TemporaryDirectory, _ options: [String]) throws -> Program.Outcome {
        try Program(options, in: folder.url.path).end()
    }

    @Test func trainsAndMakesPictures() throws {
        let folder = try folder()
        let options = [
            "train", "student.yaml", "-o", "out", "--device", "cpu", "--teacher-path", "teacher",
            "--teacher-on-cpu", "--num-steps", "2", "--lr", "1e-3", "--batch-size", "1",
            "--sample-dir", "pictures", "--sample-prompts", "a cat", "a dog", "--local-rank", "0",
        ]
        let outlined = try run(folder, options + ["--dry-run", "--json", "-"])
        #expect(outlined.code == 0, "\(outlined.messages)")
        let fields = try StreamTests.fields(outlined.output)
        #expect(fields["kind"] as? String == "student for pictures")
        #expect(fields["rows"] as? Int == 3 && fields["steps"] as? Int == 2)
        #expect(!FileManager.default.fileExists(atPath: folder.path("out")))
        let training = try run(folder, options)
        #expect(training.code == 0, "\(training.messages)")
        for words in [
            "no effect of local_rank", "no effect of num_workers", "a rank needs about",
            "teacher_device_strategy cpu", "student 2/2",
        ] {
            #expect(training.messages.contains(words), "\(training.messages)")
        }
        let drawn = try readImage(folder.path("pictures/student-00000002.png"))
        #expect(drawn.width == 64 && drawn.height == 32)
        #expect(try run(folder, options).code != 0)
        #expect(try run(folder, options + ["--resume"]).code == 0)

        let generated = try run(
            folder,
            [
                "generate", "--model", "out", "--prompt", "a cat", "--n", "2", "--frames", "1",
                "-o", "cat.png", "--device", "cpu",
            ]
        )
        #expect(generated.code == 0, "\(generated.messages)")
        let pictures = try ["cat-1.png", "cat-2.png"].map { try readImage(folder.path($0)) }
        #expect(pictures[0].width == 32 && pictures[0].pixels != pictures[1].pixels)
        let video = try run(
            folder,
            ["generate", "--model", "out", "--prompt", "a cat", "-o", "cat.mp4", "--device", "cpu"]
        )
        #expect(video.code == 64 && video.messages.contains("ends in .png"), "\(video.messages)")

        let measured = try run(
            folder,
            ["bench", "tiny-t2v", "--model", "out", "--prompts", "2", "--device", "cpu"]
        )
        #expect(measured.code == 0, "\(measured.messages)")
        let figures = String(decoding: measured.output, as: UTF8.self)
        #expect(figures.contains("hue") && !figures.contains("heading"))
    }

    @Test func refusesOptionsOfOtherRuns() throws {
        let folder = try folder()
        _ = try folder.file("recipe.yaml", text: TinyTraining.recipe)
        let other = try run(
            folder,
            ["train", "recipe.yaml", "-o", "out", "--device", "cpu", "--lr", "1"]
        )
        #expect(other.code == 64 && other.messages.contains("--lr"), "\(other.messages)")
        for (options, words) in [
            (["--teacher-dtype", "int8"], "teacher_dtype"), (["--shard", "full"], "--shard"),
            (["--teacher-device-strategy", "gpu"], "auto, balanced"),
            (["--student-config", "none.json"], "none.json"),
        ] {
            let train = ["train", "student.yaml", "-o", "out", "--teacher-path", "teacher"]
            let outcome = try run(folder, train + ["--device", "cpu"] + options)
            #expect(outcome.code != 0 && outcome.messages.contains(words), "\(outcome.messages)")
        }
        let missing = try run(folder, ["train", "student.yaml", "-o", "out", "--device", "cpu"])
        #expect(missing.code == 65 && missing.messages.contains("'teacher_path' is missing"))
    }
}
