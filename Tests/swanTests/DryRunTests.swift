import Foundation
import GoldenSupport
import ModelSupport
import Testing

/// What would be done, without doing it.
@Suite struct DryRunTests {
    private let folder: TemporaryDirectory
    private let fixture: Fixture

    init() throws {
        folder = try TemporaryDirectory()
        fixture = try Fixture.shared.get()
    }

    private var names: [String] {
        get throws { try FileManager.default.contentsOfDirectory(atPath: folder.url.path).sorted() }
    }

    @Test func aStreamIsOutlined() throws {
        let arguments = [
            "stream", fixture.clip, "--model", fixture.model, "-p", "a cat", "-o",
            folder.path("out.mp4"), "--device", "cpu", "--dry-run",
        ]
        let text = try Program(arguments).end()
        #expect(text.code == 0, "\(text.messages)")
        #expect(text.text.contains("nothing is written"))
        let json = try Program(arguments + ["--json", "-"]).end()
        let fields = try StreamTests.fields(json.output)
        #expect(fields["frames"] as? Int == 21)
        #expect(fields["frame_rate"] as? Double == 25)
        #expect(fields["size"] as? String == "48x32")
        #expect(fields["device"] as? String == "cpu")
        #expect((fields["memory_bytes"] as? Int ?? 0) > 10_000)
        #expect(fields["estimated_time_seconds"] is NSNull)
        #expect(try names.isEmpty)
    }

    @Test func whatWouldFailFails() throws {
        let existing = try folder.file("out.mp4", text: "mine")
        let common = ["stream", "--model", fixture.model, "-p", "x", "--dry-run"]
        for (arguments, code) in [
            ([fixture.clip, "-o", existing], 73), (["none.mp4", "-o", folder.path("a.mp4")], 66),
            ([fixture.clip, "-o", folder.path("none/a.mp4")], 0),
            ([fixture.clip, "-o", folder.path("a.mp4"), "--height", "33"], 64),
            ([fixture.clip, "-o", folder.path("a.xyz")], 64),
            ([fixture.clip, "-o", folder.path("frames/%05d.png")], 0),
            ([fixture.clip, "-o", folder.path("none/frames/%05d.png")], 0),
            ([fixture.clip, "-o", existing, "-y"], 0),
        ] {
            let outcome = try Program(common + arguments).end()
            #expect(outcome.code == Int32(code), "\(arguments): \(outcome.messages)")
        }
        #expect(try String(contentsOfFile: existing, encoding: .utf8) == "mine")
        #expect(try names == ["out.mp4"])
    }

    @Test func aGenerationIsOutlined() throws {
        let generating = try GenerateFixture.shared.get()
        let arguments = [
            "-p", "a fox", "--n", "2", "-o", folder.path("fox.mp4"), "--dry-run", "--json", "-",
        ]
        let outcome = try generating.generate(.textToVideo, arguments)
        #expect(outcome.code == 0, "\(outcome.messages)")
        let fields = try StreamTests.fields(outcome.output)
        #expect(fields["size"] as? String == "32x32")
        #expect(fields["frames"] as? Int == 5 && fields["steps"] as? Int == 2)
        #expect(fields["videos"] as? Int == 2)
        #expect(fields["task"] as? String == "text-to-video")
        #expect(fields["device"] as? String == "cpu")
        #expect((fields["outputs"] as? [String])?.last == folder.path("fox-2.mp4"))
        #expect(try names.isEmpty)
        let wrong = try generating.generate(.textToVideo, arguments + ["--frames", "6"])
        #expect(wrong.code == 64, "\(wrong.messages)")
    }

    @Test func aTrainingIsOutlined() throws {
        let recipe = try folder.file("recipe.yaml", text: TinyTraining.recipe)
        let before = try names
        let output = folder.path("model")
        let outcome = try Program.run(
            "train",
            recipe,
            "--output",
            output,
            "--dry-run",
            "--json",
            "-"
        )
        #expect(outcome.code == 0, "\(outcome.messages)")
        let fields = try StreamTests.fields(outcome.output)
        #expect(fields["kind"] as? String == "recipe")
        #expect((fields["steps"] as? Int ?? 0) > 0)
        #expect(fields["output"] as? String == output)
        #expect(try names == before)
        let bad = try folder.file(
            "bad.yaml",
            text: TinyTraining.recipe.replacing("seed: 7", with: "seeed: 1\nseed: 7")
        )
        let refused = try Program.run("train", bad, "--output", output, "--dry-run")
        #expect(refused.code == 65)
        #expect(refused.messages.contains("did you mean 'seed'?"), "\(refused.messages)")
    }
}
