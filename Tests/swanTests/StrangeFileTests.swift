import Foundation
import GoldenSupport
import ModelSupport
import Testing

/// Pipes and devices in place of files, and files that are truncated while in use.
@Suite struct StrangeFileTests {
    private let folder: TemporaryDirectory
    private let fixture: Fixture

    init() throws {
        folder = try TemporaryDirectory()
        fixture = try Fixture.shared.get()
        #expect(mkfifo(folder.path("pipe"), 0o600) == 0)
    }

    private func refused(_ code: Int32, _ name: String, _ arguments: [String]) throws {
        let outcome = try Program(arguments, in: folder.url.path).end()
        #expect(outcome.code == code, "\(arguments): \(outcome.messages)")
        #expect(
            outcome.messages.contains("\(name): is not a regular file")
                || outcome.text.contains("\(name): is not a regular file"),
            "\(arguments): \(outcome.messages)"
        )
        #expect(try !folder.names.contains { $0.contains("out") })
    }

    /// Nothing writes to the pipe, and the device never ends.
    @Test(arguments: ["pipe", "/dev/zero"]) func refusesPipesAndDevices(_ name: String) throws {
        let stream = ["stream", fixture.clip, "--prompt", "a", "-o", "out.mp4"]
        let generate = ["generate", "-o", "out.mp4", "--device", "cpu"]
        let random = try GenerateFixture.shared.get().path(.textToVideo)
        for (code, arguments) in [
            (65, stream + ["--model", fixture.model, "--config", name]),
            (65, ["train", name, "-o", "out"]),
            (66, generate + ["--model", random, "--prompts", name]),
            (65, generate + ["--model", random, "--prompt", "a", "--lora", name]),
            (65, ["models", "convert", name, "out.safetensors"]),
        ] as [(Int32, [String])] {
            try refused(code, name, arguments)
        }
        let image = try GenerateFixture.shared.get().path(.imageToVideo)
        try refused(
            65,
            name,
            generate + ["--model", image, "--prompt", "a", "--image", name]
        )
    }

    /// A pipe in place of each of a model's files.
    @Test(arguments: [
        "stream.yaml", "transformer/config.json", "vae/config.json", "tokenizer/spiece.model",
        "transformer/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors",
    ]) func refusesPipesInAModel(_ name: String) throws {
        let model = folder.path("model")
        try FileManager.default.copyItem(atPath: fixture.model, toPath: model)
        try FileManager.default.removeItem(atPath: model + "/" + name)
        #expect(mkfifo(model + "/" + name, 0o600) == 0)
        try refused(
            65,
            name,
            ["stream", fixture.clip, "--model", "model", "--prompt", "a", "-o", "out.mp4"]
        )
        guard name != "stream.yaml" else { return }
        let verified = try Program(["models", "verify", "model"], in: folder.url.path).end()
        #expect(verified.code == 65, "\(verified.messages)")
    }

    /// The transformer's weights are truncated after the first frames.
    @Test func truncatedModelsEndTheStream() throws {
        let model = folder.path("model")
        try TinyModel.write(to: model)
        let clip = folder.path("in.y4m")
        try Fixture.write(clip, frames: 40, width: 32)
        let bytes = try Data(contentsOf: URL(fileURLWithPath: clip))
        let program = try Program([
            "stream", "-", "--model", model, "--prompt", "a", "-o", folder.path("out.mp4"),
            "--progress", "json", "--dtype", "float32",
        ])
        try program.feed(bytes.prefix(bytes.count / 2))
        program.wait(for: #""frames_out":5"#)
        let weights = model + "/transformer/diffusion_pytorch_model.safetensors"
        #expect(truncate(weights, 4_096) == 0)
        let outcome = try program.end(input: bytes.dropFirst(bytes.count / 2))
        #expect(outcome.code == 65, "\(outcome.messages)")
        let expected = "\(weights): was truncated or changed while it was in use"
        #expect(outcome.messages.contains(expected))
        #expect(try Set(folder.names) == ["in.y4m", "model", "pipe"])
    }
}
