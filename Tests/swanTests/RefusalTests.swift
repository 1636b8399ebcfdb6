import Foundation
import GoldenSupport
import ModelSupport
import Testing
import Torch

/// Bad requests and bad input: a message, the exit code and no partial files.
@Suite struct RefusalTests {
    private let folder: TemporaryDirectory
    private let fixture: Fixture

    init() throws {
        folder = try TemporaryDirectory()
        fixture = try Fixture.shared.get()
    }

    private func stream(_ arguments: String...) throws -> Program.Outcome {
        try Program(
            ["stream", "--model", fixture.model, "-o", folder.path("out.mp4")] + arguments
        ).end()
    }

    /// Streams the clip with the model in a folder.
    private func stream(with model: String) throws -> Program.Outcome {
        try Program.run(
            "stream",
            fixture.clip,
            "--model",
            model,
            "--prompt",
            "a",
            "-o",
            folder.path("out.mp4")
        )
    }

    /// Rewrites a weights file.
    private func change(_ path: String, _ body: (inout [String: Tensor]) throws -> Void) throws {
        let file = try SafetensorsFile(path: path)
        var tensors: [String: Tensor] = [:]
        for key in file.keys { tensors[key] = try file.tensor(key).cloned() }
        try body(&tensors)
        try Safetensors.write(tensors, to: path)
    }

    private func expect(
        _ code: Int32,
        _ words: String...,
        from outcome: Program.Outcome,
        location: SourceLocation = #_sourceLocation
    ) throws {
        #expect(outcome.code == code, "\(outcome.messages)", sourceLocation: location)
        #expect(outcome.messages.contains("swan: error: "), sourceLocation: location)
        for word in words {
            #expect(
                outcome.messages.contains(word),
                "\(word) in \(outcome.messages)",
                sourceLocation: location
            )
        }
        #expect(outcome.output.isEmpty, sourceLocation: location)
        #expect(
            try !folder.names.contains { $0.contains("out") },
            "no partial files",
            sourceLocation: location
        )
    }

    // MARK: - The autoencoder

    @Test func refusesAMissingTinyAutoencoder() throws {
        let clip = fixture.clip
        try expect(
            65,
            "taew2_1.pth",
            from: stream(clip, "--prompt", "a", "--vae", "tiny")
        )
        try expect(
            66,
            "nowhere.pth",
            from: stream(clip, "--prompt", "a", "--vae", "nowhere.pth")
        )
    }

    // MARK: - Input

    @Test func refusesAMissingFile() throws {
        try expect(66, "nothing.mp4", from: stream("nothing.mp4", "--prompt", "a cat"))
    }

    @Test func refusesADirectory() throws {
        try expect(65, "director", from: stream(folder.url.path, "--prompt", "a cat"))
    }

    @Test func refusesAnEmptyFile() throws {
        let path = try folder.file("empty.mp4", text: "")
        try expect(65, "empty.mp4", from: stream(path, "--prompt", "a cat"))
    }

    @Test(arguments: [
        "some text that is no video at all\n", "#EXTM3U\n#EXTINF:1,\n/etc/hostname\n",
        "ffconcat version 1.0\nfile /etc/hostname\n",
    ])
    func refusesTextNamedLikeAVideo(_ text: String) throws {
        let path = try folder.file("text.mp4", text: text)
        try expect(65, "text.mp4", from: stream(path, "--prompt", "a cat"))
    }

    @Test func refusesSoundWithoutVideo() throws {
        // One second of silence.
        func word(_ value: Int) -> [UInt8] { (0..<4).map { UInt8(value >> (8 * $0) & 255) } }
        let format = word(16) + [1, 0, 1, 0] + word(8_000) + word(16_000) + [2, 0, 16, 0]
        let data = word(16_000) + [UInt8](repeating: 0, count: 16_000)
        let body = Array("WAVEfmt ".utf8) + format + Array("data".utf8) + data
        let path = try folder.file("sound.wav", Array("RIFF".utf8) + word(body.count) + body)
        try expect(65, "sound.wav", from: stream(path, "--prompt", "a cat"))
    }

    @Test func refusesAVideoWithoutFrames() throws {
        let header = "YUV4MPEG2 W32 H32 F25:1 Ip A1:1 C420jpeg\n"
        let path = try folder.file("none.y4m", text: header)
        try expect(65, "none.y4m", from: stream(path, "--prompt", "a cat"))
    }

    // MARK: - Requests

    @Test(arguments: [
        (["--height", "250", "--width", "250"], "multiples of 16"), (["--height", "0"], "height"),
        (["--width", "-16"], "width"), (["--width", "1000000"], "width"),
        (["--max-frames", "0"], "frames"), (["--steps", "0"], "steps"),
        (["--steps", "9"], "steps"),
        (["--noise-scale", "1.5"], "noise scale"), (["--noise-scale", "nan"], "noise scale"),
        (["--fps", "0"], "frame rate"), (["--target-fps", "-1"], "target"),
        (["--prompt-at", "x=y"], "prompt-at"), (["--prompt-at", "4="], "frame 4"),
        (["--prompt-at", "4=a", "--prompt-at", "4=b"], "same frame"),
        (["--device", "toaster"], "toaster"), (["--dtype", "int3"], "dtype"),
        (["--seed", "-1"], "seed"), (["--no-such-option"], "no-such-option"),
    ])
    func refusesInvalidOptions(_ options: [String], _ word: String) throws {
        let outcome = try Program(
            [
                "stream", fixture.clip, "--model", fixture.model, "--prompt", "a cat", "-o",
                folder.path("out.mp4"),
            ] + options
        ).end()
        try expect(64, word, from: outcome)
    }

    @Test(arguments: ["", "  \n\t ", "&nbsp;"])
    func refusesAnEmptyPrompt(_ prompt: String) throws {
        try expect(64, "prompt is empty", from: stream(fixture.clip, "--prompt", prompt))
    }

    @Test func refusesMissingArguments() throws {
        try expect(64, "--prompt", from: stream(fixture.clip))
        try expect(64, from: Program.run("nonsense"))
    }

    @Test func refusesTwoResultsOnStandardOutput() throws {
        let outcome = try Program.run(
            "stream",
            fixture.clip,
            "--prompt",
            "a",
            "-o",
            "-",
            "--json",
            "-"
        )
        try expect(64, "standard output", from: outcome)
    }

    @Test func refusesAMissingGPU() throws {
        guard try Engine.gpuCount() == 0 else { return }
        let outcome = try stream(fixture.clip, "--prompt", "a cat", "--device", "cuda")
        try expect(69, "GPU", "swan doctor", from: outcome)
    }

    // MARK: - Output

    @Test func refusesInvalidOutputs() throws {
        func outcome(_ output: String) throws -> Program.Outcome {
            try Program.run(
                "stream",
                fixture.clip,
                "--model",
                fixture.model,
                "--prompt",
                "a cat",
                "-o",
                output
            )
        }
        try expect(64, ".xyz", from: outcome(folder.path("video.xyz")))
        try expect(73, "/proc/missing", from: outcome("/proc/missing/video.mp4"))
        try expect(73, from: outcome("/proc/video.mp4"))
    }

    @Test func refusesAnUnwritableSummary() throws {
        let outcome = try stream(
            fixture.clip,
            "--prompt",
            "a cat",
            "--json",
            folder.path("missing/summary.json")
        )
        try expect(73, "summary", from: outcome)
    }

    @Test func reportsAFullDisk() throws {
        guard FileManager.default.fileExists(atPath: "/dev/full") else { return }
        let link = folder.path("video.y4m")
        try FileManager.default.createSymbolicLink(
            atPath: link,
            withDestinationPath: "/dev/full"
        )
        let outcome = try Program.run(
            "stream",
            fixture.clip,
            "--model",
            fixture.model,
            "--prompt",
            "a cat",
            "-o",
            link
        )
        try expect(74, "No space", from: outcome)
    }

    // MARK: - Models

    @Test func refusesAMissingModel() throws {
        let outcome = try Program.run(
            "stream",
            fixture.clip,
            "--model",
            "none",
            "--prompt",
            "a",
            "-o",
            folder.path("out.mp4")
        )
        try expect(69, "swan models", from: outcome)
    }

    @Test func refusesAnIncompleteModel() throws {
        let model = folder.path("model")
        try TinyModel.write(to: model)
        try FileManager.default.removeItem(
            atPath: model + "/vae/diffusion_pytorch_model.safetensors"
        )
        let outcome = try stream(with: model)
        try expect(65, "vae/diffusion_pytorch_model.safetensors", from: outcome)
        let inspected = try Program.run("models", "inspect", model)
        #expect(inspected.code == 65)
        #expect(inspected.text.contains("MISSING: vae"))
    }

    @Test func refusesWeightsThatDoNotFit() throws {
        let model = folder.path("model")
        try TinyModel.write(to: model)
        let path = model + "/transformer/diffusion_pytorch_model.safetensors"
        try change(path) { tensors in
            tensors["head.head.bias"] = nil
            tensors["extra.weight"] = try .zeros([2])
            tensors["patch_embedding.bias"] = try .zeros([3])
        }
        let outcome = try stream(with: model)
        try expect(
            65,
            "head.head.bias",
            "extra.weight",
            "patch_embedding.bias",
            path,
            from: outcome
        )
    }

    @Test func refusesNonFiniteWeights() throws {
        let model = folder.path("model")
        try TinyModel.write(to: model)
        let path = model + "/vae/diffusion_pytorch_model.safetensors"
        try change(path) { try $0["conv1.bias"]?.fill(with: .nan) }
        let outcome = try stream(with: model)
        try expect(65, "conv1.bias", "finite", from: outcome)
    }

    /// Names in files cannot send control characters or very long text to the terminal.
    @Test(arguments: ["\u{1B}[2J\u{1B}[31m", "line\nswan: error: forged", "\u{9B}2J"])
    func sanitizesNamesInFiles(_ name: String) throws {
        let model = folder.path("model")
        try TinyModel.write(to: model)
        let path = model + "/transformer/diffusion_pytorch_model.safetensors"
        try change(path) { tensors in
            tensors[name] = try .zeros([2])
            tensors[String(repeating: "x", count: 3_000_000)] = try .zeros([2])
        }
        for outcome in [
            try stream(with: model), try Program.run("models", "verify", model),
            try Program.run("models", "inspect", model),
            try Program.run("models", "convert", path, folder.path("new.safetensors")),
        ] {
            #expect(outcome.code == 65)
            let shown = outcome.messages + outcome.text
            #expect(shown.utf8.count < 20_000)
            #expect(!shown.unicodeScalars.contains { $0 == "\u{1B}" || $0 == "\u{9B}" })
            #expect(!shown.contains("\nswan: error: forged"))
        }
    }

    /// StreamDiffusionV2 also has configurations for models that do not stream.
    @Test func refusesAConfigurationForAnotherKindOfModel() throws {
        let yaml = """
            model_name: sdxl
            denoising_step_list: [999, 749, 499, 249]
            generator_task: image
            """
        let path = try folder.file("sdxl.yaml", text: yaml)
        let outcome = try stream(fixture.clip, "--prompt", "a cat", "--config", path)
        try expect(65, "sdxl.yaml", "model_name", "another kind of model", from: outcome)
    }

    /// Finite weights can lead to frames that are not finite. The result is an error, not a black
    /// video.
    @Test func refusesNonFiniteFrames() throws {
        let model = folder.path("model")
        try TinyModel.write(to: model)
        let path = model + "/transformer/diffusion_pytorch_model.safetensors"
        try change(path) { try $0["head.head.weight"]?.fill(with: 3e38) }
        try expect(65, "frames are not finite", from: stream(with: model))
    }

    @Test func refusesAnUnknownKeyInAConfiguration() throws {
        let path = try folder.file("c.yaml", text: "denoising_step_lisst: [500, 0]\n")
        let outcome = try stream(fixture.clip, "--prompt", "a cat", "--config", path)
        try expect(65, "denoising_step_lisst", "did you mean", from: outcome)
        let missing = try stream(fixture.clip, "--prompt", "a cat", "--config", "none.yaml")
        try expect(66, "none.yaml", from: missing)
    }
}
