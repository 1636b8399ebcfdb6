import Foundation
import GoldenSupport
import ModelSupport
import Testing

/// Every example of the help texts and of the documents works as it is printed.
///
/// Where they name checkpoints and clips, small ones lie; what would take minutes has fewer frames
/// and steps.
@Suite struct ExampleTests {
    private static let commands = [
        [], ["stream"], ["generate"], ["train"], ["models"], ["models", "inspect"],
        ["models", "verify"], ["models", "convert"], ["bench"], ["bench", "speed"],
        ["bench", "tiny-quality"], ["doctor"],
    ]
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    @Test func helpTexts() throws {
        var examples: [String] = []
        for command in Self.commands {
            examples += Self.examples(in: try Program(command + ["--help"]).end().text)
        }
        // Those there are now: a change of how help is laid out must not end the test.
        #expect(examples.count >= 17, "\(examples)")
        for example in Set(examples).sorted() { try run(example) }
    }

    @Test(arguments: ["README.md", "docs/streaming.md", "docs/generate.md", "docs/training.md"])
    func documents(_ name: String) throws {
        let text = try String(contentsOf: Self.root.appending(path: name), encoding: .utf8)
        let blocks = text.components(separatedBy: "```sh\n").dropFirst()
            .compactMap { $0.components(separatedBy: "```").first }
        // A model that somebody trains, and the minutes of measuring it, are not at hand.
        let examples = blocks.flatMap(Self.examples).filter { example in
            !["out/", "--lora"].contains { example.contains($0) }
        }
        for example in examples { try run(example) }
        #expect(name != "README.md" || examples.count >= 7)
    }

    /// Lines that begin with a program, those that go on behind a backslash joined.
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
        guard example.hasPrefix("swan generate") else { return example }
        // Behind the command, before a comment.
        return example.replacing(
            "swan generate",
            with: "swan generate --size 32x32 --frames 5 --steps 1 --device cpu"
        )
    }

    /// The file or folder that is made in the folder where the example runs; nil for none.
    private static func output(of example: String) -> String? {
        let option = example.firstMatch(of: /(?:-o|--output|--sheet|convert [^ ]+) ([^ ]+)/)
        guard let path = option?.1, path != "-" else { return nil }
        return String(path.split(separator: "/")[0])
    }

    /// A folder with all that examples name.
    private static func folder() throws -> TemporaryDirectory {
        let folder = try TemporaryDirectory()
        let (stream, generate) = (try Fixture.shared.get(), try GenerateFixture.shared.get())
        try Fixture.write(folder.path("in.mp4"), frames: 6)
        try Fixture.write(folder.path("in.y4m"), frames: 6)
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
        // FFmpeg's programs belong to the reader.
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
