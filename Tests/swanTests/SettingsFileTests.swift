import Foundation
import GoldenSupport
import Testing

@testable import swan

/// Options from files and from the environment.
@Suite struct SettingsFileTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func completed(
        _ arguments: [String],
        _ environment: [String: String] = [:]
    ) throws -> [String] {
        try CommandSettings(arguments, environment: environment)?.arguments() ?? arguments
    }

    @Test func aFileHoldsOptions() throws {
        let path = try folder.file(
            "a.yaml",
            text: """
                prompt: "a fox, in snow"
                max_frames: 5
                no-stream-batch: true
                fixed-noise: false
                lora: [a.safetensors=0.5, b.safetensors]
                input: in.mp4
                """
        )
        let found = try completed(["stream", "--settings", path, "-o", "out.mp4"])
        #expect(
            found == [
                "stream", "--input=in.mp4", "--prompt=a fox, in snow", "--lora=a.safetensors=0.5",
                "--lora=b.safetensors", "--no-stream-batch", "--max-frames=5", "--settings", path,
                "-o", "out.mp4",
            ]
        )
    }

    @Test func theCommandLineWins() throws {
        let path = try folder.file("a.yaml", text: "prompt: sepia\nseed: 7\ninput: in.mp4\n")
        let found = try completed(
            ["stream", "other.mp4", "-p", "neon", "--settings=\(path)"],
            ["SWAN_SEED": "8", "SWAN_PROMPT": "night", "SWAN_MAX_FRAMES": "3"]
        )
        #expect(found.contains("--seed=8"), "the environment comes before the file")
        #expect(found.contains("--max-frames=3"))
        #expect(!found.contains { $0.hasPrefix("--prompt") || $0.hasPrefix("--input") })
    }

    @Test func sectionsAreForOneCommand() throws {
        let text = """
            device: cpu
            stream: {prompt: neon}
            generate: {model: DIR, guidance: 1.5, batch-guidance: false}
            serve: {port: 8000}
            """
        try FileManager.default.createDirectory(
            atPath: folder.path("swan"),
            withIntermediateDirectories: true
        )
        _ = try folder.file("swan/config.yaml", text: text)
        let home = ["XDG_CONFIG_HOME": folder.url.path]
        #expect(try completed(["stream"], home) == ["stream", "--prompt=neon", "--device=cpu"])
        let generate = try completed(["generate"], home)
        #expect(
            Set(generate.dropFirst()) == [
                "--model=DIR", "--guidance=1.5", "--no-batch-guidance", "--device=cpu",
            ]
        )
        #expect(try completed(["doctor"], home) == ["doctor"])
    }

    @Test(arguments: [
        ("promt: x", "unknown key 'promt'; did you mean 'prompt'?"),
        ("port: 7", "unknown key 'port'"),
        ("stream: {sede: 1}", "unknown key 'stream.sede'; did you mean 'seed'?"),
        ("sream: {seed: 1}", "did you mean 'stream'?"),
        ("- a", "must have keys"), ("seed: {a: {b: 1}}", "must be a value or a list"),
        ("seed: 1\nseed: 2", "seed"), ("fixed-noise: perhaps", "must be true or false"),
    ])
    func mistakesAreNamed(_ text: String, _ message: String) throws {
        let path = try folder.file("bad.yaml", text: text)
        let outcome = try Program.run("stream", "--settings", path)
        #expect(outcome.code == 65, "\(outcome.messages)")
        #expect(outcome.messages.contains("\(path): "), "\(outcome.messages)")
        #expect(outcome.messages.contains(message), "\(outcome.messages)")
    }

    @Test func wrongValuesNameTheirFile() throws {
        let path = try folder.file("a.yaml", text: "steps: many\nprompt: x\noutput: o.mp4\n")
        let outcome = try Program.run("stream", "in.mp4", "--settings", path)
        #expect(outcome.code == 64)
        #expect(
            outcome.messages.contains("--steps comes from \(path): steps"),
            "\(outcome.messages)"
        )
    }

    @Test func configOfAStreamMayHoldOptionsToo() throws {
        let options = try folder.file("options.yaml", text: "prompt: neon\nseed: 3\n")
        #expect(
            try completed(["stream", "--config", options, "-o", "x"])
                == ["stream", "--prompt=neon", "--seed=3", "-o", "x"]
        )
        let model = try folder.file("stream.yaml", text: "num_kv_cache: 4\nheight: 64\n")
        let given = ["stream", "--config", model, "-o", "x"]
        #expect(try completed(given) == given)
    }
}
