import Foundation
import GoldenSupport
import ModelSupport
import Testing

/// Every example in the help texts and the documentation works as printed.
///
/// Small files take the place of the checkpoints and clips that the examples name, and slow examples
/// run with fewer frames and steps.
@Suite struct ExampleTests {
    private static let commands = [
        [], ["stream"], ["generate"], ["train"], ["models"], ["models", "inspect"],
        ["models", "verify"], ["models", "convert"], ["bench"], ["bench", "speed"],
        ["bench", "tiny-quality"], ["doctor"],
    ]
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    @Test func helpExamplesWork() throws {
        var examples: [String] = []
        for command in Self.commands {
            examples += Self.examples(in: try Program(command + ["--help"]).end().text)
        }
        // The current number: a change of the help's layout must not disable this test.
        #expect(examples.count >= 17, "\(examples)")
        // There are no cameras and no servers here: Tests/live has both. Training takes hours, and
        // distillation, fine-tuning and LoRAs need a model to begin with.
        let others = #/\s(/dev/|[a-z]+://|-- train |configs/wan|my-lora|--lora)/#
        for example in Set(examples).sorted() where !example.contains(others) {
            try run(example)
        }
    }

    @Test(arguments: ["README.md", "docs/streaming.md", "docs/generate.md", "docs/training.md"])
    func documentationExamplesWork(_ name: String) throws {
        let text = try String(contentsOf: Self.root.appending(path: name), encoding: .utf8)
        let blocks = text.components(separatedBy: "```sh\n").dropFirst()
            .compactMap { $0.components(separatedBy: "```").first }
        // Examples that need a trained model or a LoRA cannot run here.
        let examples = blocks.flatMap(Self.examples).filter { example in
            !["out/", "--lora"].contains { example.contains($0) }
        }
        for example in examples { try run(example) }
        #expect(name != "README.md" || examples.count >= 7)
    }

    /// Lines that start with a program, joined with the lines that continue them after a backslash.
    private static func examples(in text: String) -> [String] {
        text.replacing(/\\\n\s*/, with: "").split(separator: "\n")
            .map { $0.trimmingCharacters(in: .whitespaces) }
            .filter { line in ["swan ", "ffmpeg "].contains { line.hasPrefix($0) } }
    }

    private func run(_ example: String) throws {
        let folder = try Self.folder()
        let outcome = try Shell.run(
            "export PATH=\"$PWD/bin:$PATH\"; " + Self.shortened(example),
            in: folder.url.path
        )
        #expect(outcome.code == 0, "\(example): \(outcome.messages)")
        guard let output = Self.output(of: example) else { return }
        let names = try folder.names
        let isThere = names.contains {
            $0 == output || $0.hasPrefix(output.split(separator: ".")[0] + "-")
        }
        #expect(isThere, "\(example): \(names)")
    }

    private static func shortened(_ example: String) -> String {
        // After the command, because a comment may follow the example.
        example.replacing(/^(swan (?:launch .*-- )?)generate/) { match in
            match.1 + "generate --size 32x32 --frames 5 --steps 1 --device cpu"
        }
    }

    /// The file or folder that the example creates in its folder, or nil for none.
    private static func output(of example: String) -> String? {
        let option = example.firstMatch(of: /(?:-o|--output|--sheet|convert [^ ]+) ([^ ]+)/)
        guard let path = option?.1, path != "-" else { return nil }
        return String(path.split(separator: "/")[0])
    }

    /// A folder with everything that the examples name.
    private static func folder() throws -> TemporaryDirectory {
        let folder = try TemporaryDirectory()
        let (stream, generate) = (try Fixture.shared.get(), try GenerateFixture.shared.get())
        try Fixture.write(folder.path("in.mp4"), frames: 6)
        try Fixture.write(folder.path("in.y4m"), frames: 6)
        for name in ["one.mp4", "two.mp4"] { try Fixture.write(folder.path(name), frames: 6) }
        try FileManager.default.createDirectory(
            atPath: folder.path("frames"),
            withIntermediateDirectories: true
        )
        try Fixture.write(folder.path("frames/%d.jpg"), frames: 6)
        for (name, target) in [
            ("DIR", stream.model), ("model", stream.model),
            ("Wan2.1-T2V-1.3B", generate.path(.textToVideo)),
            ("Wan2.2-TI2V-5B", generate.path(.textOrImageToVideo)),
            ("Wan2.1-FLF2V-14B-720P", generate.path(.firstLastFrameToVideo)),
            ("Wan2.2-T2V-A14B", generate.path(.textToVideoExperts)),
            ("Wan2.1_VAE.pth", generate.path(.textToVideo) + "/Wan2.1_VAE.pth"),
            ("model.pt", generate.path(.textToVideo) + "/Wan2.1_VAE.pth"),
            ("a.jpg", generate.picture), ("portrait.jpg", generate.picture),
            ("dawn.png", generate.picture), ("dusk.png", generate.picture),
        ] {
            try FileManager.default.createSymbolicLink(
                atPath: folder.path(name),
                withDestinationPath: target
            )
        }
        _ = try folder.file("list.txt", text: "a cat\n")
        for name in ["configs", ".deps/training", ".deps/media", "bin"] {
            try FileManager.default.createDirectory(
                atPath: folder.path(name),
                withIntermediateDirectories: true
            )
        }
        // Readers install FFmpeg's programs themselves, so scripts stand in for them.
        for (name, script) in [("ffmpeg", "cat in.y4m"), ("ffplay", "cat > /dev/null")] {
            let path = try folder.file("bin/" + name, text: "#!/bin/sh\n\(script)\n")
            chmod(path, 0o755)
        }
        _ = try folder.file("configs/tiny.yaml", text: TinyTraining.recipe)
        for name in ["bikes", "carphone_pristine", "bigbuckbunny"] {
            try Fixture.write(folder.path(".deps/media/\(name).mp4"), frames: 2)
        }
        return folder
    }
}
