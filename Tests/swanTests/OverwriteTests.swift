import Foundation
import GoldenSupport
import ModelSupport
import Testing

/// No command replaces a file that it reads, or any other file without permission.
@Suite struct OverwriteTests {
    private let folder: TemporaryDirectory
    private let fixture: Fixture
    private let bytes: Data

    init() throws {
        folder = try TemporaryDirectory()
        fixture = try Fixture.shared.get()
        bytes = try Data(contentsOf: URL(fileURLWithPath: fixture.clip))
        try bytes.write(to: folder.url.appending(path: "in.mp4"))
        try FileManager.default.createSymbolicLink(
            atPath: folder.path("model"),
            withDestinationPath: fixture.model
        )
    }

    private func run(_ command: String, terminal: String? = nil) throws -> Program.Outcome {
        try Shell.run(
            command,
            in: folder.url.path,
            input: terminal ?? "",
            terminal: terminal != nil
        )
    }

    private func expect(
        _ code: Int32,
        _ words: String,
        from command: String,
        location: SourceLocation = #_sourceLocation
    ) throws {
        let before = try contents()
        let outcome = try run(command)
        #expect(outcome.code == code, "\(outcome.messages)", sourceLocation: location)
        #expect(outcome.messages.contains(words), "\(outcome.messages)", sourceLocation: location)
        #expect(try contents() == before, "no file changes", sourceLocation: location)
    }

    private func contents() throws -> [String: Data] {
        var contents: [String: Data] = [:]
        for name in try folder.names where name != "model" {
            contents[name] = FileManager.default.contents(atPath: folder.path(name)) ?? Data()
        }
        return contents
    }

    // MARK: - Outputs that are inputs

    @Test(arguments: [
        "in.mp4 -o in.mp4", "./in.mp4 -o in.mp4", "in.mp4 -o $PWD/in.mp4",
        "in.mp4 -o symbolic.mp4", "in.mp4 -o hard.mp4", "symbolic.mp4 -o in.mp4",
        "hard.mp4 -o symbolic.mp4", "in.mp4 -o ../$(basename $PWD)/in.mp4",
        "in.mp4 -o out.mp4 --json in.mp4", "in.mp4 -o out.mp4 --json hard.mp4",
        "in.mp4 -o out.mp4 --json model/stream.yaml",
        "in.mp4 -o out.mp4 --json model/vae/config.json",
        "in.mp4 -o out.mp4 --json model/vae/diffusion_pytorch_model.safetensors",
        "in.mp4 -o out.mp4 --config c.yaml --json c.yaml", "- -o hard.mp4 < in.mp4",
        "frames/00002.png -o frames/%05d.png", "link.png -o frames/%05d.png",
        "frame_00007.png -o ./", "in.mp4 -o new.mp4 --json ./new.mp4",
        "in.mp4 -o frames/%05d.png --json frames/00003.png", "in.mp4 -o - >> in.mp4",
    ])
    func streamRefusesAnOutputThatIsAnInput(_ arguments: String) throws {
        let made = try Shell.run(
            """
            ln -s in.mp4 symbolic.mp4; ln in.mp4 hard.mp4; cp model/stream.yaml c.yaml; mkdir frames
            cp in.mp4 frames/00002.png; ln -s frames/00002.png link.png; cp in.mp4 frame_00007.png
            """,
            in: folder.url.path
        )
        #expect(made.code == 0)
        let model = try Data(contentsOf: URL(fileURLWithPath: fixture.model + "/stream.yaml"))
        try expect(
            64,
            "swan: error: ",
            from: "swan stream --model model --prompt a -y \(arguments)"
        )
        #expect(
            try Data(contentsOf: URL(fileURLWithPath: fixture.model + "/stream.yaml")) == model
        )
    }

    @Test(arguments: [
        "--image a.png --frames 1 -o a.png", "--image a.png --frames 1 -o ./link.png",
        "--last-image a.png --frames 1 -o a.png", "--control in.mp4 -o in.mp4",
        "--control a.png --mask in.mp4 -o in.mp4", "--reference in.mp4 -o in.mp4",
        "-o out.mp4 --json list.txt", "-o out.mp4 --save-latents big/Wan2.1_VAE.pth",
        "-o out.mp4 --init-latents l.safetensors --save-latents l.safetensors",
        "-o out.mp4 --lora l.safetensors --save-latents l.safetensors",
        "-o out.mp4 --vae l.safetensors --save-latents l.safetensors",
        "-o out.mp4 --tokenizer l.safetensors --json l.safetensors",
        "-o out.mp4 --image a.png --preview 1 --preview-file link.png",
        "-o out.mp4 --save-latents out.mp4", "--n 2 -o out.mp4 --json out-2.mp4",
    ])
    func generateRefusesAnOutputThatIsAnInput(_ arguments: String) throws {
        let checkpoint = try GenerateFixture.shared.get().path(.textToVideo)
        let made = try Shell.run(
            """
            cp in.mp4 a.png; ln a.png link.png; echo a cat > list.txt; cp in.mp4 l.safetensors
            ln -s '\(checkpoint)' big
            """,
            in: folder.url.path
        )
        #expect(made.code == 0)
        try expect(
            64,
            "swan: error: ",
            from: "swan generate --model big --prompts list.txt --device cpu -y \(arguments)"
        )
    }

    @Test func otherCommandsRefuseAnOutputThatIsAnInput() throws {
        let recipe = TinyTraining.recipe.replacing(
            "data: {procedural: 1}",
            with: "data: {procedural: 0, videos: [{file: in.mp4, weight: 1}]}"
        )
        _ = try folder.file("recipe.yaml", text: recipe)
        #expect(try run("ln in.mp4 hard.png; mkdir empty").code == 0)
        try expect(
            64,
            "in.mp4",
            from: "swan bench tiny-quality --model model --input in.mp4 --sheet hard.png -y"
        )
        try expect(64, "is an input", from: "swan train recipe.yaml --data . -o . --device cpu")
        try expect(
            64,
            "is an input",
            from: "cd empty; swan train ../recipe.yaml --data .. -o ../empty/.. --device cpu"
        )
        for name in ["in.mp4", "model/vae", "hard.png"] {
            try expect(73, name, from: "swan models convert model/vae \(name)")
        }
    }

    // MARK: - Outputs that exist

    @Test(arguments: [
        "-o out.mp4", "-o frames/%05d.png", "-o frames/", "-o new.mp4 --json out.mp4",
        "-o nowhere.mp4",
    ])
    func replacesExistingFilesOnlyWithPermission(_ arguments: String) throws {
        let made = try run(
            """
            cp in.mp4 out.mp4; mkdir frames; cp in.mp4 frames/00009.png
            cp in.mp4 frames/frame_00002.png; ln -s missing nowhere.mp4
            """
        )
        #expect(made.code == 0)
        // This comes before the search for the model.
        try expect(73, "-y", from: "swan stream in.mp4 --model none --prompt a \(arguments)")
        let outcome = try run(
            "swan stream in.mp4 --model model --prompt a --progress none -y \(arguments)"
        )
        #expect(outcome.code == 0, "\(outcome.messages)")
    }

    @Test func refusesNumberedOutputsThatExist() throws {
        let checkpoint = try GenerateFixture.shared.get().path(.textToVideo)
        _ = try folder.file("out-2.mp4", [1])
        try expect(
            73,
            "out-2.mp4 exists; use -y",
            from: "swan generate --model '\(checkpoint)' --prompt a --n 3 -o out.mp4"
        )
        try expect(
            73,
            "out-2.mp4 exists; use -y",
            from: "swan generate --model '\(checkpoint)' --prompt a -o o.mp4 "
                + "--save-latents out-2.mp4"
        )
        _ = try folder.file("sheet.png", [1])
        try expect(
            73,
            "sheet.png exists; use -y",
            from: "swan bench tiny-quality --sheet sheet.png"
        )
    }

    @Test func writesToPipesAndDevicesWithoutPermission() throws {
        let outcome = try run(
            """
            mkfifo pipe.y4m; cat pipe.y4m > copy & swan stream in.mp4 --model model --prompt a \
            --progress none -o pipe.y4m --json /dev/null; code=$?; wait; exit $code
            """
        )
        #expect(outcome.code == 0, "\(outcome.messages)")
        #expect(try Data(contentsOf: folder.url.appending(path: "copy")).count > 21 * 32 * 32)
    }

    @Test(arguments: [("y\n", true), ("yes\n", true), ("n\n", false), ("\n", false)])
    func asksOnATerminal(_ answer: String, _ isYes: Bool) throws {
        _ = try folder.file("out.mp4", [1])
        let outcome = try run(
            "swan stream in.mp4 --model \(isYes ? "model" : "none") --prompt a -o out.mp4",
            terminal: answer
        )
        #expect(outcome.text.contains("out.mp4 exists. Overwrite? [y/N] "), "\(outcome.text)")
        #expect(outcome.code == (isYes ? 0 : 73), "\(outcome.text)")
        let out = try Data(contentsOf: folder.url.appending(path: "out.mp4"))
        #expect((out == Data([1])) == !isYes)
    }

    // MARK: - Leftovers

    @Test func removesLeftoversOfKilledRuns() throws {
        let dead = "4194305"
        for name in [".out.swan-partial-\(dead).mp4", ".other.swan-partial-\(dead)-1.mkv"] {
            _ = try folder.file(name, [1])
        }
        let living = ".out.swan-partial-\(getpid()).mp4"
        _ = try folder.file(living, [1])
        let outcome = try run(
            "swan stream in.mp4 --model model --prompt a -o out.mp4 --progress none"
        )
        #expect(outcome.code == 0, "\(outcome.messages)")
        #expect(outcome.messages.contains(".out.swan-partial-\(dead).mp4: removed"))
        #expect(try folder.names == [living, "in.mp4", "model", "out.mp4"])
    }

    @Test func theNextRunRemovesTheLeftoversOfAKilledOne() throws {
        let program = try Program(
            [
                "stream", "-", "--model", fixture.model, "--prompt", "a", "-o", "out.mp4",
                "--progress", "json", "--no-stream-batch",
            ],
            in: folder.url.path
        )
        let clip = folder.path("in.y4m")
        try Fixture.write(clip, frames: 13)
        try program.feed(Data(contentsOf: URL(fileURLWithPath: clip)))
        program.wait(for: #""frames_out":5"#)
        program.send(SIGKILL)
        _ = try program.end()
        #expect(try folder.names.contains { $0.hasPrefix(".out.swan-partial-") })
        let outcome = try run("swan models convert model/vae other.safetensors")
        #expect(outcome.code == 0, "\(outcome.messages)")
        #expect(try folder.names == ["in.mp4", "in.y4m", "model", "other.safetensors"])
    }
}
