import Foundation
import GoldenSupport
import SwanMedia
import Testing

/// Several inputs, sequences of pictures, and outputs by name, through the program.
@Suite struct BatchTests {
    private let folder: TemporaryDirectory
    private let fixture: Fixture

    init() throws {
        folder = try TemporaryDirectory()
        fixture = try Fixture.shared.get()
    }

    private func stream(_ arguments: String..., input: Data = Data()) throws -> Program.Outcome {
        try Program(
            ["stream", "--model", fixture.model, "--progress", "plain", "--prompt", "a cat"]
                + arguments
        ).end(input: input)
    }

    private func pictures(_ count: Int) throws {
        for number in 1...count {
            let frame = VideoFrame(width: 48, height: 32) {
                $0.initializeMemory(as: UInt8.self, repeating: UInt8(20 * number))
            }
            try writePNG(frame, folder.path("p\(number).png"))
        }
    }

    @Test func oneBrokenFileDoesNotLoseTheOthers() throws {
        try Fixture.write(folder.path("a.mp4"), frames: 5)
        try Fixture.write(folder.path("c.mkv"), frames: 3)
        try Data("no video".utf8).write(to: folder.url.appending(path: "b.mp4"))
        let (out, sum) = (folder.path("new/out"), folder.path("sum.json"))
        let names = ["a.mp4", "b.mp4", "c.mkv", "missing.mp4"].map { folder.path($0) }
        let outcome = try stream(names[0], names[1], names[2], names[3], "-o", out, "--json", sum)
        #expect(outcome.code == 65, "\(outcome.messages)")
        #expect(try Fixture.count(out + "/a.mp4") == 5 && Fixture.count(out + "/c.mkv") == 3)
        #expect(try FileManager.default.contentsOfDirectory(atPath: out).count == 2)
        #expect(outcome.messages.contains("2 of 4 outputs are complete; failed: "))
        let fields = try StreamTests.fields(Data(contentsOf: URL(fileURLWithPath: sum)))
        let files = try #require(fields["files"] as? [[String: Any]])
        let states = files.compactMap { $0["status"] as? String }
        #expect(states == ["done", "failed", "done", "failed"])
        #expect((files[1]["error"] as? String)?.contains("b.mp4") == true)
        let summary = try #require(files[2]["summary"] as? [String: Any])
        #expect(summary["frames_out"] as? Int == 3)
        let again = try stream(names[0], names[2], "-o", out)
        #expect(again.code == 73 && again.messages.contains("a.mp4 and 1 more output exist"))
    }

    @Test func stoppingKeepsWhatIsComplete() throws {
        try Fixture.write(folder.path("a.mp4"), frames: 5)
        try Fixture.write(folder.path("b.mp4"), frames: 900)
        let out = folder.path("out")
        let program = try Program([
            "stream", "--model", fixture.model, "--progress", "json", "--prompt", "a cat",
            folder.path("a.mp4"), folder.path("b.mp4"), folder.path("a.mp4"), "-o", out,
            "--json", folder.path("sum.json"),
        ])
        program.wait(for: "(2 of 3)")
        program.wait(for: "\"streaming\"")
        program.send(SIGINT)
        #expect(try program.end().code == 130)
        #expect(try Fixture.count(out + "/a.mp4") == 5)
        let partly = try Fixture.count(out + "/b.mp4")
        #expect(partly >= 5 && partly < 900)
        let sum = try Data(contentsOf: folder.url.appending(path: "sum.json"))
        let files = try #require(try StreamTests.fields(sum)["files"] as? [[String: Any]])
        let states = files.compactMap { $0["status"] as? String }
        #expect(states == ["done", "interrupted", "skipped"])
    }

    @Test func picturesAreAVideo() throws {
        try pictures(7)
        for input in ["p%d.png", "p*.png", ""] {
            let out = folder.path("out.mkv")
            let outcome = try stream(folder.path(input), "--fps", "10", "-o", out, "-y")
            #expect(outcome.code == 0, "\(input): \(outcome.messages)")
            let info = try VideoReader(path: out).info
            #expect(try Fixture.count(out) == 7 && info.frameRate.value == 10)
        }
        let unquoted = try stream(
            folder.path("p1.png"),
            folder.path("p2.png"),
            folder.path("p3.png"),
            "-o",
            folder.path("few.gif")
        )
        #expect(unquoted.code == 0, "\(unquoted.messages)")
        #expect(try Fixture.count(folder.path("few.gif")) == 3)
        let single = try stream(folder.path("p2.png"), "-o", folder.path("new/one.jpg"))
        #expect(single.code == 0, "\(single.messages)")
        #expect(single.messages.contains("one of 7 numbered pictures"))
        #expect(try readImage(folder.path("new/one.jpg")).width == 48)
    }

    @Test func namesWithoutAnEndingNeedAFormat() throws {
        let clip = fixture.clip
        let unnamed = try stream(clip, "-o", folder.path("out"), "--max-frames", "2")
        #expect(unnamed.code == 64 && unnamed.messages.contains("--format"))
        let named = try stream(
            clip,
            "-o",
            folder.path("out"),
            "--format",
            "webm",
            "--max-frames",
            "2"
        )
        #expect(named.code == 0, "\(named.messages)")
        #expect(try VideoReader(path: folder.path("out")).info.codec == "vp9")
        let piped = try stream(clip, "-o", "-", "--format", "mkv", "--max-frames", "2")
        #expect(piped.code == 0, "\(piped.messages)")
        try piped.output.write(to: folder.url.appending(path: "piped.mkv"))
        #expect(try Fixture.count(folder.path("piped.mkv")) == 2)
        let nothing = try stream(clip, "-o", "/dev/null", "--max-frames", "2")
        #expect(nothing.code == 0, "\(nothing.messages)")
        let unknown = try stream(clip, "-o", folder.path("x"), "--format", "mpeg7")
        #expect(unknown.code == 64 && unknown.messages.contains("webm"))
    }
}
