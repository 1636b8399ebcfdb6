import Foundation
import GoldenSupport
import SwanMedia
import Testing

/// The output of `swan stream`.
@Suite struct StreamTests {
    private let folder: TemporaryDirectory
    private let fixture: Fixture

    init() throws {
        folder = try TemporaryDirectory()
        fixture = try Fixture.shared.get()
    }

    private func stream(_ arguments: String..., input: Data = Data()) throws -> Program.Outcome {
        try Program(["stream", "--model", fixture.model, "--progress", "none"] + arguments)
            .end(input: input)
    }

    @Test func keepsTheNumberOfFramesAndTheRate() throws {
        let out = folder.path("out.mp4")
        let outcome = try stream(fixture.clip, "--prompt", "a cat", "-o", out)
        #expect(outcome.code == 0, "\(outcome.messages)")
        #expect(outcome.output.isEmpty)
        // The model's size is 32x32; the clip has another shape.
        #expect(outcome.messages.split(separator: "\n").count == 1)
        #expect(outcome.messages.contains("48x32"))
        #expect(try Fixture.count(out) == 21)
        let info = try VideoReader(path: out).info
        #expect(info.frameRate == Rational(25))
        #expect((info.width, info.height) == (48, 32))
        #expect(try folder.names == ["out.mp4"])
    }

    @Test(arguments: [1, 3, 5, 6])
    func keepsAnyNumberOfFrames(_ frames: Int) throws {
        let (clip, out) = (folder.path("in.mkv"), folder.path("out.mkv"))
        try Fixture.write(clip, frames: frames)
        let outcome = try stream(clip, "--prompt", "a cat", "-o", out)
        #expect(outcome.code == 0, "\(outcome.messages)")
        #expect(try Fixture.count(out) == frames)
    }

    /// Streams past the 1,024 latent frames of the reference's position table, with constant
    /// memory.
    @Test func streamsWithoutEnd() throws {
        func peak(frames: Int) throws -> Int {
            let outcome = try stream(
                "--prompt",
                "a cat",
                "--height",
                "16",
                "--width",
                "16",
                "--steps",
                "1",
                "--max-frames",
                "\(frames)",
                "--json",
                "-",
                "-y",
                "-o",
                folder.path("out.y4m")
            )
            #expect(outcome.code == 0, "\(outcome.messages)")
            let summary = try JSONDecoder().decode(Summary.self, from: outcome.output)
            #expect(summary.framesOut == frames)
            return summary.peakMemoryBytes
        }
        #expect(try peak(frames: 4_401) - peak(frames: 401) < 32 << 20)
    }

    private struct Summary: Decodable {
        let framesOut, peakMemoryBytes: Int

        private enum CodingKeys: String, CodingKey {
            case framesOut = "frames_out", peakMemoryBytes = "peak_memory_bytes"
        }
    }

    @Test func streamsFromPipeToPipe() throws {
        let clip = folder.path("in.y4m")
        try Fixture.write(clip, frames: 7)
        let bytes = try Data(contentsOf: URL(fileURLWithPath: clip))
        let outcome = try stream("-", "--prompt", "a cat", "-o", "-", input: bytes)
        #expect(outcome.code == 0, "\(outcome.messages)")
        let out = folder.path("out.y4m")
        try outcome.output.write(to: URL(fileURLWithPath: out))
        #expect(outcome.text.hasPrefix("YUV4MPEG2 W48 H32 F25:1"))
        #expect(try Fixture.count(out) == 7)
    }

    @Test func streamsATruncatedVideoUpToItsEnd() throws {
        let (whole, cut) = (folder.path("whole.mp4"), folder.path("cut.mp4"))
        try Fixture.write(whole, frames: 60, width: 128, height: 128)
        let bytes = try Data(contentsOf: URL(fileURLWithPath: whole))
        try bytes.prefix(bytes.count * 2 / 3).write(to: URL(fileURLWithPath: cut))
        let out = folder.path("out.mp4")
        let outcome = try stream(cut, "--prompt", "a cat", "-o", out)
        #expect(outcome.code == 0, "\(outcome.messages)")
        #expect(outcome.messages.contains("swan: warning: "))
        #expect(outcome.messages.contains("cut off"))
        #expect((1..<60).contains(try Fixture.count(out)))
    }

    @Test func theSameSeedGivesTheSameVideo() throws {
        func video(_ seed: String) throws -> Data {
            try stream(fixture.clip, "--prompt", "a cat", "-o", "-", "--seed", seed).output
        }
        let first = try video("7")
        #expect(!first.isEmpty)
        #expect(try video("7") == first)
        #expect(try video("8") != first)
    }

    @Test func generatesFromTextAlone() throws {
        let out = folder.path("out.mp4")
        let outcome = try stream("--prompt", "a cat", "--max-frames", "10", "-o", out)
        #expect(outcome.code == 0, "\(outcome.messages)")
        #expect(try Fixture.count(out) == 10)
        #expect(try VideoReader(path: out).info.frameRate == Rational(16))
        let endless = try stream("--prompt", "a cat", "-o", out)
        #expect(endless.code == 64)
        #expect(endless.messages.contains("--max-frames"))
    }

    @Test func optionsReachTheStream() throws {
        let out = folder.path("out.mp4")
        let outcome = try stream(
            fixture.clip,
            "--prompt",
            "a cat",
            "-o",
            out,
            "--json",
            "-",
            "--steps",
            "1",
            "--height",
            "48",
            "--width",
            "64",
            "--max-frames",
            "9",
            "--fps",
            "10",
            "--seed",
            "3",
            "--no-stream-batch",
            "--fixed-noise",
            "--noise-scale",
            "0.2",
            "--dtype",
            "bfloat16",
            "--device",
            "cpu",
            "--prompt-at",
            "5=neon"
        )
        #expect(outcome.code == 0, "\(outcome.messages)")
        let summary = try Self.fields(outcome.output)
        #expect(summary["frames_out"] as? Int == 8)  // 21 frames at 25 fps, resampled to 10 fps
        #expect(summary["frame_rate"] as? String == "10")
        #expect(summary["steps"] as? [Int] == [300])
        #expect(summary["height"] as? Int == 48)
        #expect(summary["width"] as? Int == 64)
        #expect(summary["dtype"] as? String == "bfloat16")
        #expect(summary["device"] as? String == "cpu")
        #expect(summary["seed"] as? Int == 3)
    }

    @Test func aLaterPromptChangesLaterFramesOnly() throws {
        func frames(_ arguments: String...) throws -> [[UInt8]] {
            let out = folder.path("out.mkv")
            let all = [
                "stream", "--model", fixture.model, "--progress", "none", "--prompt", "a cat",
            ]
            let outcome = try Program(
                all + ["--no-stream-batch", "-y", "-o", out, fixture.clip] + arguments
            ).end()
            #expect(outcome.code == 0, "\(outcome.messages)")
            let reader = try VideoReader(path: out)
            var frames: [[UInt8]] = []
            while let frame = try reader.nextFrame() { frames.append(frame.pixels) }
            return frames
        }
        let plain = try frames()
        let changed = try frames("--prompt-at", "9=neon edges")
        // Frame 9 of 25 per second.
        #expect(try frames("--prompt-at", "360ms=neon edges") == changed)
        try #require(plain.count == changed.count)
        #expect(Array(plain[..<9]) == Array(changed[..<9]))
        #expect(plain[9...] != changed[9...])
    }

    @Test func summaryHasAllKeys() throws {
        let path = folder.path("summary.json")
        let outcome = try stream(
            fixture.clip,
            "--prompt",
            "a cat",
            "-o",
            folder.path("o.mp4"),
            "--json",
            path
        )
        #expect(outcome.code == 0, "\(outcome.messages)")
        let summary = try Self.fields(Data(contentsOf: URL(fileURLWithPath: path)))
        for key in [
            "fps", "seconds", "first_frame_seconds", "peak_memory_bytes", "kv_cache_bytes",
        ] {
            #expect((summary[key] as? Double).map { $0 > 0 } == true, "\(key)")
        }
        #expect(summary["schema_version"] as? Int == 1)
        #expect(summary["frames_in"] as? Int == 21)
        #expect(summary["frames_out"] as? Int == 21)
        #expect(summary["model"] as? String == "model")
        #expect(summary["was_interrupted"] as? Bool == false)
        let latency = try #require(summary["chunk_latency_ms"] as? [String: Double])
        #expect(latency.keys.sorted() == ["p50", "p95", "p99"])
        #expect(try #require(latency["p50"]) <= #require(latency["p99"]))
        let stages = try #require(summary["stages_ms"] as? [String: Double])
        #expect(stages.keys.sorted() == ["decode", "denoise", "encode", "vae_decode", "write"])
        #expect(stages.values.allSatisfy { $0 > 0 })
    }

    @Test func writesProgressAsOneObjectPerLine() throws {
        let outcome = try Program.run(
            "stream",
            fixture.clip,
            "--model",
            fixture.model,
            "--prompt",
            "a cat",
            "-o",
            folder.path("o.mp4"),
            "--progress",
            "json",
            "--width",
            "32",
            "--height",
            "32",
            "--fit",
            "stretch"
        )
        #expect(outcome.code == 0)
        let lines = outcome.messages.split(separator: "\n")
        let events = try lines.map { try Self.fields(Data($0.utf8))["event"] as? String }
        #expect(events.first == "progress")
        #expect(events.last == "done")
    }

    @Test func plainProgressEndsWithASummary() throws {
        let outcome = try Program.run(
            "stream",
            fixture.clip,
            "--model",
            fixture.model,
            "--prompt",
            "a cat",
            "-o",
            folder.path("o.mp4")
        )
        #expect(outcome.code == 0)
        #expect(outcome.messages.hasPrefix("swan: "))
        #expect(outcome.messages.contains("21 frames of 48x32 in "))
        #expect(!outcome.messages.contains("\u{1B}"))
    }

    static func fields(_ data: Data) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    }
}
