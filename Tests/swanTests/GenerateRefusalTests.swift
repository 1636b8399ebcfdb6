import Foundation
import GoldenSupport
import ModelSupport
import SwanMedia
import SwanPipelines
import Testing
import Torch

@testable import swan
import ArgumentParser

/// What `swan generate` refuses, with a helpful message, the exit code and no partial files.
@Suite struct GenerateRefusalTests {
    private typealias Model = RandomCheckpoint.Model

    private let folder: TemporaryDirectory
    private let fixture: GenerateFixture

    init() throws {
        folder = try TemporaryDirectory()
        fixture = try GenerateFixture.shared.get()
    }

    /// Expects a request to fail, parsed and run like the program does, but without a process.
    private func refused(
        _ code: Int32,
        _ model: RandomCheckpoint.Model,
        _ arguments: String...,
        words: String...,
        location: SourceLocation = #_sourceLocation
    ) throws {
        let error = failure { try generate(model, arguments) }
        let message = error.map { ExitStatus.message(for: $0) } ?? "no error"
        #expect(
            error.map { ExitStatus.code(for: $0) } == code,
            "\(message)",
            sourceLocation: location
        )
        for word in words {
            #expect(message.contains(word), "\(word) in \(message)", sourceLocation: location)
        }
        #expect(
            try !folder.names.contains { $0.contains("out") },
            "no partial files",
            sourceLocation: location
        )
    }

    /// Expects the program to fail, and checks its messages, exit code and standard output.
    private func programRefuses(
        _ code: Int32,
        _ arguments: String...,
        words: String,
        location: SourceLocation = #_sourceLocation
    ) throws {
        let outcome = try fixture.generate(.textToVideo, completed(arguments))
        let messages = outcome.messages
        #expect(outcome.code == code, "\(messages)", sourceLocation: location)
        #expect(messages.contains("swan: error: "), "\(messages)", sourceLocation: location)
        #expect(messages.contains(words), "\(messages)", sourceLocation: location)
        #expect(outcome.output.isEmpty, sourceLocation: location)
        #expect(try !folder.names.contains { $0.contains("out") }, sourceLocation: location)
    }

    private func generate(_ model: RandomCheckpoint.Model, _ arguments: [String]) throws {
        let all = fixture.arguments(model, completed(arguments)).dropFirst()
        _ = try FileGeneration(GenerateCommand.parse(Array(all)).request()).run()
    }

    private func completed(_ arguments: [String]) -> [String] {
        let output = arguments.contains("-o") ? [] : ["-o", folder.path("out.mp4")]
        let prompt = arguments.contains { $0.hasPrefix("--prompt") } ? [] : ["--prompt", "a cat"]
        return arguments + output + prompt
    }

    /// A separate checkpoint that the test may damage.
    private func checkpoint(
        _ model: RandomCheckpoint.Model = .textToVideo,
        _ layout: RandomCheckpoint.Layout = .original
    ) throws -> RandomCheckpoint {
        try RandomCheckpoint(model, layout, at: folder.path("model"))
    }

    // MARK: - The checkpoint

    @Test(arguments: [
        ("models_t5_umt5-xxl-enc-bf16.pth", "text_encoder ("), ("Wan2.1_VAE.pth", "vae ("),
        ("google/umt5-xxl/spiece.model", "tokenizer ("),
        ("models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth", "image_encoder ("),
    ])
    func refusesAMissingPart(file: String, name: String) throws {
        let checkpoint = try checkpoint(.imageToVideo)
        try FileManager.default.removeItem(atPath: checkpoint.file(file))
        let stem = file.replacing(".index.json", with: "")
        try refused(
            65,
            .imageToVideo,
            "--model",
            checkpoint.path,
            "--image",
            fixture.picture,
            words: "not complete",
            name,
            stem
        )
    }

    /// One expert alone would generate a video, but a bad one.
    @Test(arguments: [
        (RandomCheckpoint.Layout.original, "low_noise_model"), (.diffusers, "transformer_2"),
        (.comfyUI, "diffusion_models/wan_low_noise_fp8_scaled.safetensors"),
        (.comfyUI, "diffusion_models/wan_high_noise_fp8_scaled.safetensors"),
    ])
    func refusesAMissingExpert(layout: RandomCheckpoint.Layout, name: String) throws {
        let checkpoint = try checkpoint(.textToVideoExperts, layout)
        try FileManager.default.removeItem(atPath: checkpoint.file(name))
        try refused(
            65,
            .textToVideoExperts,
            "--model",
            checkpoint.path,
            words: "not complete",
            "transformer_2"
        )
    }

    @Test func refusesALoRAForAMissingExpert() throws {
        let lora = folder.path("lora.safetensors")
        try Safetensors.write(["diffusion_model.x.diff": .zeros([1])], to: lora)
        try refused(64, .textToVideo, "--lora", "low:\(lora)", words: lora, "one transformer")
        try refused(64, .textToVideo, "--lora", "high:\(lora)", words: lora, "one transformer")
    }

    @Test func refusesAMissingShard() throws {
        let checkpoint = try checkpoint()
        let shard = "diffusion_pytorch_model-00002-of-00002.safetensors"
        try FileManager.default.removeItem(atPath: checkpoint.file(shard))
        try refused(65, .textToVideo, "--model", checkpoint.path, words: shard)
    }

    @Test func refusesAMissingModel() throws {
        try refused(69, .textToVideo, "--model", folder.path("none"), words: "none")
        try refused(65, .textToVideo, "--model", folder.url.path, words: "transformer (")
    }

    @Test func refusesAConfigurationThatContradictsTheWeights() throws {
        let checkpoint = try checkpoint()
        let path = checkpoint.file("config.json")
        let text = try String(contentsOfFile: path, encoding: .utf8)
        try text.replacing("\"num_layers\":2", with: "\"num_layers\":30")
            .write(toFile: path, atomically: true, encoding: .utf8)
        try refused(
            65,
            .textToVideo,
            "--model",
            checkpoint.path,
            words: path,
            "30 layers",
            "have 2"
        )
        try "{\"dim\": ".write(toFile: path, atomically: true, encoding: .utf8)
        try refused(65, .textToVideo, "--model", checkpoint.path, words: path)
    }

    @Test(arguments: [
        ("transformer/diffusion_pytorch_model.safetensors", "blocks.1.ffn.net.0.proj.weight"),
        ("vae/diffusion_pytorch_model.safetensors", "decoder.conv_in.bias"),
        ("text_encoder/model.safetensors", "shared.weight"),
    ])
    func refusesNonFiniteWeights(file: String, key: String) throws {
        let checkpoint = try checkpoint(.textToVideo, .diffusers)
        let path = checkpoint.file(file)
        try change(path) { tensors in
            var tensor = try #require(tensors[key])
            try tensor.fill(with: .nan)
        }
        try refused(65, .textToVideo, "--model", checkpoint.path, words: path, key, "finite")
    }

    @Test func refusesWeightsThatDoNotFit() throws {
        let checkpoint = try checkpoint(.textToVideo, .diffusers)
        let path = checkpoint.file("transformer/diffusion_pytorch_model.safetensors")
        try change(path) { tensors in
            tensors["proj_out.bias"] = nil
            tensors["extra.weight"] = try .zeros([2])
        }
        try refused(
            65,
            .textToVideo,
            "--model",
            checkpoint.path,
            words: path,
            "head.head.bias",
            "extra.weight"
        )
    }

    private func change(_ path: String, _ body: (inout [String: Tensor]) throws -> Void) throws {
        let file = try SafetensorsFile(path: path)
        var tensors: [String: Tensor] = [:]
        for key in file.keys { tensors[key] = try file.tensor(key).cloned() }
        try body(&tensors)
        try Safetensors.write(tensors, to: path)
    }

    // MARK: - The wrong model for the task

    @Test func refusesPicturesForTheWrongModel() throws {
        let picture = fixture.picture
        try refused(64, .textToVideo, "--image", picture, words: "text-to-video", "image-to-video")
        try refused(64, .imageToVideo, words: "image-to-video", "--image")
        try refused(
            64,
            .imageToVideo,
            "--image",
            picture,
            "--last-image",
            picture,
            words: "FLF2V"
        )
        try refused(64, .firstLastFrameToVideo, "--image", picture, words: "--last-image")
        try refused(
            64,
            .textToVideo,
            "--last-image",
            picture,
            words: "last picture",
            "text-to-video"
        )
        try refused(64, .controlToVideo, "--image", picture, words: "--reference")
        try refused(64, .textToVideo, "--reference", picture, words: "VACE")
        try refused(64, .textToVideo, "--guidance-low", "3", words: "--guidance")
    }

    /// Models that stream have another command.
    @Test func refusesAModelThatStreams() throws {
        try refused(65, .textToVideo, "--model", "tiny", words: "swan stream")
    }

    @Test(arguments: ["lora_down", "lora_up", "alpha", "diff_b"])
    func refusesANonFiniteLoRA(_ part: String) throws {
        let lora = folder.path("lora.safetensors")
        let module = "diffusion_model.blocks.0.self_attn.k"
        let width = 48
        var tensors: [String: Tensor] = [
            "\(module).lora_down.weight": try .zeros([2, width]),
            "\(module).lora_up.weight": try .zeros([width, 2]),
            "\(module).alpha": try .ones([]), "\(module).diff_b": try .zeros([width]),
        ]
        for key in tensors.keys where key.contains(part) {
            try tensors[key]?.fill(with: .nan)
        }
        try Safetensors.write(tensors, to: lora)
        try refused(65, .textToVideo, "--lora", lora, words: lora, part, "finite")
        try refused(65, .textToVideo, "--lora", lora, "--live-lora", words: lora, part, "finite")
    }

    @Test func refusesALoRAForAnotherModel() throws {
        let lora = folder.path("lora.safetensors")
        for (module, words) in [
            ("blocks.0.self_attn.q", "blocks.0.self_attn.q"), ("single_blocks.3.linear1", "single"),
        ] {
            try Safetensors.write(
                [
                    "diffusion_model.\(module).lora_down.weight": .zeros([2, 40]),
                    "diffusion_model.\(module).lora_up.weight": .zeros([40, 2]),
                ],
                to: lora
            )
            try refused(65, .textToVideo, "--lora", lora + "=0.5", words: lora, words)
        }
        try Safetensors.write(["some.weight": .zeros([2])], to: lora)
        try refused(65, .textToVideo, "--lora", lora, words: lora, "some.weight")
        try refused(66, .textToVideo, "--lora", folder.path("no.safetensors"), words: "no.safet")
    }

    @Test func refusesAnAutoencoderForAnotherModel() throws {
        let other = fixture.path(.textOrImageToVideo) + "/taew2_2.safetensors"
        try refused(65, .textToVideo, "--vae", other, words: "48 channels", "taew2_1")
    }

    // MARK: - Pictures

    /// A video can start from a picture in any format.
    @Test(arguments: [
        "animated.gif", "cmyk.jpg", "rgb16.png", "alpha.png", "one_pixel.png", "gray.png",
    ])
    func acceptsManyKindsOfPictures(name: String) throws {
        let path = try folder.file(name, [UInt8](Pictures.load().file(name)))
        try generate(.imageToVideo, ["--image", path, "-o", folder.path("out.mkv")])
        #expect(try Fixture.count(folder.path("out.mkv")) == 5)
    }

    @Test func usesTheUprightRatioOfARotatedPicture() throws {
        let path = try folder.file("turned.jpg", [UInt8](Pictures.load().file("orientation_6.jpg")))
        let output = folder.path("out.png")
        try generate(
            .textOrImageToVideo,
            ["--image", path, "-o", output, "--area", "64x96", "--frames", "1"]
        )
        let picture = try readImage(output)
        #expect(picture.width == 64 && picture.height == 96)
    }

    @Test(arguments: [
        ("cut_60.png", "cut_60.png"), ("huge.png", "64000000"), ("cut_90.jpg", "truncated"),
    ])
    func refusesDamagedAndHugePictures(name: String, word: String) throws {
        let path = try folder.file(name, [UInt8](Pictures.load().file(name)))
        try refused(65, .imageToVideo, "--image", path, words: path, word)
    }

    @Test func refusesOtherFilesAsPictures() throws {
        let text = try folder.file("text.png", text: "no picture\n")
        try refused(65, .imageToVideo, "--image", text, words: text)
        try refused(66, .imageToVideo, "--image", folder.path("no.png"), words: "no.png")
        try refused(65, .imageToVideo, "--image", folder.url.path, words: "directory")
    }

    // MARK: - Numbers

    @Test func refusesInvalidFramesAndSizes() throws {
        try refused(64, .textToVideo, "--frames", "80", words: "4n + 1", "77 and 81")
        try refused(64, .textToVideo, "--frames", "0", words: "4n + 1", "1")
        try refused(64, .textToVideo, "--frames", "20001", words: "10001")
        try refused(64, .textToVideo, "--size", "100x50", words: "multiples of 16", "96x48")
        try refused(64, .textOrImageToVideo, "--size", "48x32", words: "of 32", "64x32")
        try refused(64, .textToVideo, "--size", "99999x16", words: "99999", "8192")
        try refused(64, .textToVideo, "--size", "small", words: "--size", "small")
        try refused(64, .textToVideo, "--area", "480p", words: "area", "size")
    }

    @Test func refusesOtherInvalidNumbers() throws {
        try refused(64, .textToVideo, "--steps", "0", words: "steps", "1000")
        try refused(64, .textToVideo, "--guidance", "nan", words: "guidance")
        try refused(64, .textToVideo, "--n", "0", words: "0")
        try refused(64, .textToVideo, "--fps", "0", words: "rate")
        try refused(64, .textToVideo, "--shift", "-1", words: "shift")
        try refused(64, .textToVideo, "--timesteps", "100,900", words: "timesteps", "steps")
        try refused(64, .textToVideo, "--solver", "ddim", words: "unipc", "euler")
        try refused(64, .textToVideo, "--prompt", "  ", words: "prompt")
    }

    /// Nothing starts that cannot finish.
    @Test func refusesMoreThanFitsInMemory() throws {
        try refused(
            69,
            .textToVideo,
            "--size",
            "8192x8192",
            "--frames",
            "10001",
            words: "10001 frames of 8192x8192",
            "GB",
            "free",
            "--size "
        )
    }

    // MARK: - Outputs

    @Test func refusesInvalidOutputs() throws {
        try refused(73, .textToVideo, "-o", "/proc/none/out.mp4", words: "/proc/none")
        try refused(64, .textToVideo, "-o", folder.path("out.xyz"), words: ".mp4")
        try refused(64, .textToVideo, "-o", "-", "--n", "2", words: "standard output")
        let latents = folder.path("none/l.safetensors")
        try refused(73, .textToVideo, "--save-latents", latents, words: latents)
    }

    @Test func programRefusesInvalidRequests() throws {
        try programRefuses(64, "-o", "-", "--json", "-", words: "standard output")
        try programRefuses(73, "--json", folder.path("none/s.json"), words: "s.json")
        let preview = folder.path("none/p.png")
        try programRefuses(73, "--preview", "1", "--preview-file", preview, words: preview)
        try programRefuses(64, "--frames", "6", words: "5 and 9")
    }

    @Test func refusesLatentsThatDoNotFit() throws {
        let path = folder.path("latents.safetensors")
        try Safetensors.write(["latents": .zeros([1, 16, 3, 4, 4])], to: path)
        try refused(
            64,
            .textToVideo,
            "--init-latents",
            path,
            words: "[1, 16, 3, 4, 4]",
            "[1, 16, 2, 4, 4]"
        )
        try Safetensors.write(["a": .zeros([1]), "b": .zeros([1])], to: path)
        try refused(65, .textToVideo, "--init-latents", path, words: path, "latents")
        try Safetensors.write(["x": Tensor.zeros([1, 16, 2, 4, 4]) / 0.0], to: path)
        try refused(65, .textToVideo, "--init-latents", path, words: path, "x is not finite")
    }

    @Test func refusesFilesWithoutValidPrompts() throws {
        let empty = try folder.file("list.txt", text: "\n \n")
        try refused(64, .textToVideo, "--prompts", empty, words: empty)
        let bytes = try folder.file("bytes.txt", Array("a fox\na ".utf8) + [0xFF, 0xFE])
        try refused(65, .textToVideo, "--prompts", bytes, words: bytes, "line 2")
        try refused(66, .textToVideo, "--prompts", folder.path("no.txt"), words: "no.txt")
    }
}

/// Small picture files of every kind (Goldens/pictures.py).
struct Pictures: Decodable {
    private struct Picture: Decodable { let file: Data }

    private let pictures, refused: [String: Picture]

    static func load() throws -> Pictures {
        let data = try Data(contentsOf: URL(fileURLWithPath: Golden.path("pictures.json")))
        return try JSONDecoder().decode(Pictures.self, from: data)
    }

    func file(_ name: String) throws -> Data {
        try #require((pictures[name] ?? refused[name])?.file)
    }

    private enum CodingKeys: String, CodingKey { case pictures, refused }
}
