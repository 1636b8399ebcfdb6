import Foundation
import GoldenSupport
import Testing

/// Misspelled commands, options and values are named with the nearest that exists.
@Suite struct TypoTests {
    @Test(arguments: [
        (["strem", "in.mp4"], "did you mean 'swan stream'?"),
        (["genrate", "--prompt", "x"], "did you mean 'swan generate'?"),
        (["models", "inspct", "tiny"], "did you mean 'swan models inspect'?"),
        (["bench", "tiny-qualty"], "did you mean 'swan bench tiny-quality'?"),
        (["stream", "a.mp4", "--promt", "x", "-o", "b.mp4"], "did you mean '--prompt'?"),
        (["stream", "a.mp4", "-p", "x", "--progess", "bar"], "did you mean '--progress'?"),
        (["generate", "--modle", "DIR", "-p", "x", "-o", "a.mp4"], "did you mean '--model'?"),
        (["train", "a.yaml", "--outptu", "x"], "did you mean '--output'?"),
        (["launch", "--nproc", "2", "--", "stream", "--promt", "x"], "did you mean '--prompt'?"),
        (["stream", "a.mp4", "-p", "x", "-o", "b.mp4", "--fit", "croop"], "Did you mean 'crop'?"),
        (["stream", "a.mp4", "-p", "x", "-o", "b.mp4", "--dtype", "flaot32"], "mean 'float32'?"),
        (["generate", "--model", "m", "-p", "x", "-o", "a.mp4", "--solver", "unipcc"], "'unipc'?"),
        (["bench", "speed", "strem"], "Did you mean 'stream'?"),
        (["completions", "bsh"], "Did you mean 'bash'?"),
    ])
    func areNamedWithWhatWasMeant(_ arguments: [String], _ hint: String) throws {
        let outcome = try Program(arguments).end()
        #expect(outcome.code == 64, "\(outcome.messages)")
        #expect(outcome.messages.hasPrefix("swan: error: "))
        #expect(outcome.messages.contains(hint), "\(outcome.messages)")
        #expect(outcome.output.isEmpty)
    }

    @Test func othersGetNoHint() throws {
        for arguments in [["quantize"], ["stream", "--quantization", "4"], ["stream", "-Z"]] {
            let outcome = try Program(arguments).end()
            #expect(outcome.code == 64)
            #expect(outcome.messages.contains(arguments[arguments.count > 1 ? 1 : 0]))
            #expect(!outcome.messages.lowercased().contains("did you mean"), "\(outcome.messages)")
        }
    }

    @Test func aValueThatLooksLikeAnOptionIsNone() throws {
        let outcome = try Program.run("stream", "none.mp4", "-p", "--promt", "-o", "/tmp/x.mp4")
        #expect(outcome.code == 66, "\(outcome.messages)")
    }

    @Test func modelsAndStylesAreNamed() throws {
        let folder = try TemporaryDirectory()
        let fixture = try Fixture.shared.get()
        try FileManager.default.createDirectory(
            atPath: folder.path("Wan2.1-T2V-1.3B"),
            withIntermediateDirectories: true
        )
        for (model, near) in [
            ("tinny", "'tiny'"), ("swan-tinny", "'tiny'"),
            (folder.path("Wan2.1-T2V-1.3b"), folder.path("Wan2.1-T2V-1.3B")),
        ] {
            let outcome = try Program.run("models", "inspect", model)
            #expect(outcome.code == 69)
            #expect(outcome.messages.contains("did you mean"), "\(outcome.messages)")
            #expect(outcome.messages.contains(near), "\(outcome.messages)")
        }
        let out = folder.path("out.mp4")
        let outcome = try Program.run(
            "stream",
            fixture.clip,
            "-p",
            "sepai",
            "-o",
            out,
            "--dry-run"
        )
        #expect(outcome.code == 0, "\(outcome.messages)")
        #expect(outcome.text.contains("did you mean"), "\(outcome.text)")
    }

    @Test func shortOptionsMeanTheSame() throws {
        for version in ["-V", "--version"] {
            let outcome = try Program.run(version)
            #expect(outcome.code == 0)
            #expect(outcome.text.split(separator: ".").count == 3)
        }
        let outcome = try Program.run("stream", "a.mp4", "-i", "b.mp4", "-p", "x", "-o", "c.mp4")
        #expect(outcome.code == 64)
        #expect(outcome.messages.contains("one output for 2 inputs"))
    }
}
