import Foundation
import GoldenSupport
import ModelSupport
import SwanMedia
import Testing

/// `swan generate`, from the command line to the files.
@Suite struct GenerateTests {
    private let folder: TemporaryDirectory
    private let fixture: GenerateFixture

    init() throws {
        folder = try TemporaryDirectory()
        fixture = try GenerateFixture.shared.get()
    }

    /// Generates five frames of 32x32 in two steps, unless the arguments say otherwise.
    private func generate(_ arguments: String...) throws -> Program.Outcome {
        let outcome = try fixture.generate(.textToVideo, ["--prompt", "a cat"] + arguments)
        #expect(outcome.code == 0, "\(outcome.messages)")
        return outcome
    }

    @Test func writesAFileAndASummary() throws {
        let outcome = try generate("-o", folder.path("out.mp4"), "--fps", "12", "--json", "-")
        let reader = try VideoReader(path: folder.path("out.mp4"))
        #expect(reader.info.width == 32 && reader.info.height == 32)
        #expect(reader.info.frameRate == Rational(12, 1))
        #expect(try Fixture.count(folder.path("out.mp4")) == 5)
        let fields = try StreamTests.fields(outcome.output)
        #expect(fields["schema_version"] as? Int == 1)
        #expect(fields["task"] as? String == "text-to-video")
        #expect(fields["steps"] as? Int == 2)
        #expect(fields["frames"] as? Int == 5)
        #expect(fields["fps"] as? Double == 12)
        #expect(fields["solver"] as? String == "unipc")
        #expect(fields["was_interrupted"] as? Bool == false)
        #expect((fields["videos"] as? [[String: Any]])?.first?["seed"] as? Int == 0)
        for key in ["shift", "guidance", "seconds_per_step", "first_step_seconds"] {
            #expect(fields[key] as? Double ?? 0 > 0, "\(key)")
        }
        #expect(fields["peak_memory_bytes"] as? Int ?? 0 > 0)
        let stages = try #require(fields["stages_ms"] as? [String: Double])
        #expect(Set(stages.keys) == ["load", "text", "image", "denoise", "vae_decode"])
        #expect(outcome.messages.contains("out.mp4: 5 frames of 32x32"))
        #expect(try folder.names == ["out.mp4"])
    }

    @Test func standardOutputContainsOnlyTheVideo() throws {
        let outcome = try generate("-o", "-")
        #expect(outcome.output.starts(with: Data("YUV4MPEG2 W32 H32 F16:1 ".utf8)))
        #expect(outcome.output.count > 5 * 32 * 32)
    }

    @Test func readsAFileOfPrompts() throws {
        let prompts = try folder.file("list.txt", text: "a cat\r\n\n  neon edges \n")
        let outcome = try fixture.generate(
            .textToVideo,
            ["--prompts", prompts, "--n", "2", "-o", folder.path("out.mkv"), "--json", "-"]
        )
        #expect(outcome.code == 0, "\(outcome.messages)")
        let fields = try StreamTests.fields(outcome.output)
        let videos = try #require(fields["videos"] as? [[String: Any]])
        #expect(
            videos.map { $0["prompt"] as? String }
                == ["a cat", "a cat", "neon edges", "neon edges"]
        )
        #expect(Set(try folder.names) == Set(["list.txt"] + (1...4).map { "out-\($0).mkv" }))
    }

    @Test func writesPreviewsToAFile() throws {
        let out = folder.path("out.mkv")
        _ = try generate("-o", out, "--preview", "1")
        let picture = try readImage(folder.path("out.preview.png"))
        #expect(picture.width >= 4 && picture.width == picture.height)
        _ = try generate("-o", out, "--preview", "2", "--preview-file", folder.path("p.png"), "-y")
        #expect(try folder.names == ["out.mkv", "out.preview.png", "p.png"])
    }

    @Test func showsPreviewsOnATerminal() throws {
        let shell = Process()
        let log = folder.path("log")
        shell.executableURL = URL(fileURLWithPath: "/usr/bin/script")
        let arguments = fixture.arguments(
            .textToVideo,
            ["--prompt", "cat", "--preview", "1", "--size", "64x64"]
        ).map { "'\($0)'" }.joined(separator: " ")
        shell.arguments = [
            "-qefc", "stty cols 20; '\(Program.url.path)' \(arguments) -o \(folder.path("o.mkv"))",
            log,
        ]
        shell.standardOutput = Pipe()
        shell.standardInput = Pipe()
        try shell.run()
        shell.waitUntilExit()
        #expect(shell.terminationStatus == 0)
        let text = try String(contentsOfFile: log, encoding: .utf8)
        #expect(text.contains("\u{1B}[38;2;"))
        let widths = text.split(whereSeparator: \.isNewline).map { $0.count { $0 == "▀" } }
        #expect(widths.max() == 20)
        #expect(try folder.names == ["log", "o.mkv"])
    }

    @Test func writesProgressAsJSON() throws {
        let outcome = try generate("-o", folder.path("out.mkv"), "--progress", "json")
        let lines = outcome.messages.split(separator: "\n").map { Data($0.utf8) }
        let events = try lines.map { try StreamTests.fields($0) }
        let stages = events.compactMap { $0["stage"] as? String }
        #expect(Set(stages) == ["loading", "denoising", "decoding"])
        #expect(events.last?["event"] as? String == "done")
        #expect(events.last?["outputs"] as? [String] == [folder.path("out.mkv")])
    }

    /// All 1,000 steps would take minutes.
    @Test(arguments: [SIGINT, SIGTERM, SIGHUP])
    func signalsLeaveNoFiles(_ signal: Int32) throws {
        let program = try Program(
            fixture.arguments(
                .textToVideo,
                [
                    "--prompt", "a cat", "--steps", "1000", "-o", folder.path("out.mp4"),
                    "--progress", "json", "--save-latents", folder.path("l.safetensors"),
                ]
            )
        )
        program.wait(for: #""stage":"denoising""#)
        program.send(signal)
        #expect(try program.end().code == 128 + signal)
        #expect(try folder.names == [])
    }

    @Test func inspectionNamesTheTask() throws {
        let outcome = try Program.run("models", "inspect", fixture.path(.imageToVideoExperts))
        #expect(outcome.code == 0, "\(outcome.messages)")
        #expect(outcome.text.contains("image-to-video, two experts"), "\(outcome.text)")
    }
}
