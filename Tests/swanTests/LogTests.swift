import Foundation
import GoldenSupport
import Testing

/// How much is said, and the log file.
@Suite struct LogTests {
    private let folder: TemporaryDirectory
    private let fixture: Fixture

    init() throws {
        folder = try TemporaryDirectory()
        fixture = try Fixture.shared.get()
    }

    private func stream(_ arguments: String...) throws -> Program.Outcome {
        let out = folder.path("out.mp4")
        return try Program(
            ["stream", fixture.clip, "--model", fixture.model, "-p", "a cat", "-y", "-o", out]
                + arguments
        ).end()
    }

    private func log(_ name: String) throws -> String {
        try String(contentsOfFile: folder.path(name), encoding: .utf8)
    }

    @Test func quietSaysNothingButErrors() throws {
        let good = try stream("-q")
        #expect(good.code == 0)
        #expect(good.messages.isEmpty, "\(good.messages)")
        let bad = try Program.run("stream", "none.mp4", "-q", "-p", "x", "-o", folder.path("x.mp4"))
        #expect(bad.code == 66)
        #expect(bad.messages == "swan: error: none.mp4: no such file\n")
        let lines = try stream("--quiet", "--progress", "json").messages.split(separator: "\n")
        #expect(!lines.isEmpty && lines.allSatisfy { $0.hasPrefix("{\"") })
    }

    @Test func verboseSaysMore() throws {
        let outcome = try stream("-v", "--progress", "none")
        #expect(outcome.code == 0)
        for word in ["swan: debug: swan ", "libtorch", " on cpu", "48x32", "loaded after"] {
            #expect(outcome.messages.contains(word), "\(word) in \(outcome.messages)")
        }
        #expect(!(try stream("--progress", "none").messages.contains("debug")))
        let both = try stream("-v", "-q")
        #expect(both.code == 64)
    }

    @Test func theLogFileHasAllMessagesWithTimes() throws {
        let path = folder.path("swan.log")
        #expect(try stream("-q", "--log-file", path).code == 0)
        let first = try log("swan.log")
        #expect(first.contains("21 frames"), "\(first)")
        #expect(first.hasSuffix("ended with exit code 0\n"), "\(first)")
        let bad = try Program.run(
            "stream",
            "none.mp4",
            "-p",
            "x",
            "-o",
            folder.path("x.mp4"),
            "--log-file",
            path
        )
        #expect(bad.code == 66)
        let both = try log("swan.log")
        #expect(both.hasPrefix(first))
        #expect(both.contains("error   none.mp4: no such file\n"), "\(both)")
        for line in both.split(separator: "\n") where !line.hasPrefix("    ") {
            #expect(line.prefixMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z [a-z]/) != nil)
        }
    }

    @Test func aLogNeverDamagesAnotherFile() throws {
        let clip = folder.path("clip.mp4")
        try FileManager.default.copyItem(atPath: fixture.clip, toPath: clip)
        let before = try Data(contentsOf: URL(fileURLWithPath: clip))
        for path in [clip, try folder.file("prompts.txt", text: "a fox\n")] {
            let outcome = try stream("--log-file", path)
            #expect(outcome.code == 73)
            #expect(outcome.messages.contains("is not a log of swan"), "\(outcome.messages)")
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: clip)) == before)
        #expect(try log("prompts.txt") == "a fox\n")
        let same = try Program.run(
            "stream",
            fixture.clip,
            "--model",
            fixture.model,
            "-p",
            "x",
            "-y",
            "-o",
            folder.path("a.mp4"),
            "--log-file",
            folder.path("a.mp4")
        )
        #expect(same.code == 64, "\(same.messages)")
        #expect(try stream("--log-file", folder.path("none/swan.log")).code == 73)
    }
}
