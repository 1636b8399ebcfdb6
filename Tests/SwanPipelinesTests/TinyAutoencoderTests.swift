import Foundation
import GoldenSupport
import ModelSupport
import SwanMedia
import SwanModels
import SwanSystem
import Synchronization
import Testing
import Torch

@testable import SwanPipelines
import SwanCheckpoints

/// Streams with a tiny autoencoder with random weights instead of the model's own.
@Suite struct TinyAutoencoderTests {
    /// The encoder looks three frames ahead, so a stream that ends soon after a chunk has to fill
    /// one or two more chunks.
    @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 16, 22], [true, false])
    func keepsTheNumberOfFrames(count: Int, streamBatch: Bool) throws {
        let stream = try self.stream { $0.settings.streamBatch = streamBatch }
        var out: [VideoFrame] = []
        for frame in try clip(count) { out += try stream.push(frame) }
        out += try stream.finish()
        #expect(out.count == count)
        #expect(stream.framesOut == count && stream.framesIn == count)
        #expect(out.allSatisfy { $0.width == 64 && $0.height == 48 })
    }

    @Test(arguments: [8, 12, 19])
    func runsStagesConcurrently(count: Int) throws {
        let stream = try self.stream { $0.configuration.framesPerBlock = 2 }
        let inbox = FrameInbox(capacity: count, whenFull: .wait)
        for frame in try clip(count) { inbox.put(TimedFrame(frame)) }
        inbox.close()
        var out = 0
        try stream.run(inbox.source) {
            out += $0.frames.count
            return true
        }
        #expect(out == count)
    }

    /// The model's own encoder has no lookahead, so chunks come as they do with its own decoder.
    @Test(arguments: [4, 5, 9, 14])
    func usesTheDecoderAloneWithoutLookahead(count: Int) throws {
        let given = try ["tiny-decoder", nil, "tiny"].map { vae in
            let stream = try self.stream(vae: vae)
            let counts = try clip(count).map { try stream.push($0).count }
            return try counts + [stream.finish().count]
        }
        #expect(given[0] == given[1])
        #expect(count < 9 || given[0] != given[2])
        #expect(given[0].reduce(0, +) == count)
    }

    @Test func generatesWithoutInput() throws {
        let stream = try self.stream()
        #expect(try stream.generate().count == 1)
        #expect(try stream.generate().count == 4)
    }

    /// The tiny autoencoder is found by name, path or folder. The model's own one is not needed.
    @Test func findsTheTinyAutoencoder() throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder.url.path)
        func load(_ vae: String?) throws -> any VideoAutoencoder {
            try StreamModel.load(folder.url.path, dtype: .float32, device: .cpu, vae: vae).vae
        }
        #expect(try load(nil) is WanVAE)
        let missing = #expect(throws: SwanError.self) { try load("tiny") }
        #expect(missing?.message.contains("taew2_1.pth") == true)
        let absent = #expect(throws: SwanError.self) { try load(folder.path("no.pth")) }
        #expect(absent?.code == .noSuchFile)

        try FileManager.default.createDirectory(
            at: folder.url.appendingPathComponent("taehv"),
            withIntermediateDirectories: true
        )
        let path = folder.path("taehv/taew2_1.safetensors")
        try TinyModel.writeTinyVAE(to: path)
        try FileManager.default.removeItem(at: folder.url.appendingPathComponent("vae"))
        for name in ["tiny", path, folder.path("taehv")] { #expect(try load(name) is TinyVAE) }
        var request = FileStreamRequest(input: nil, output: "out.mp4", prompt: "neon")
        (request.model, request.maxFrames) = (folder.url.path, 4)
        let error = #expect(throws: SwanError.self) { try request.plan() }
        #expect(error?.message.contains("vae (") == true)
        request.vae = "tiny"
        _ = try request.plan()
    }

    /// Wan's autoencoder from a file, the tiny decoder alone, and an autoencoder for another model.
    @Test func acceptsOtherAutoencodersThatFit() throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder.url.path)
        try TinyModel.writeTinyVAE(to: folder.path("taew2_1.safetensors"))
        let wan = folder.path("vae/diffusion_pytorch_model.safetensors")
        let loaded = try StreamModel.load(
            folder.url.path,
            dtype: .float32,
            device: .cpu,
            vae: wan
        )
        #expect(loaded.vae is WanVAE)
        let pair = try StreamModel.load(
            folder.url.path,
            dtype: .float32,
            device: .cpu,
            vae: "tiny-decoder"
        )
        #expect(pair.vae is AutoencoderPair && pair.vae.lookahead == 0)
        let other = folder.path("other.safetensors")
        try Safetensors.write(Golden("tiny_vae21").weights, to: other)
        let error = #expect(throws: SwanError.self) {
            try StreamModel.load(
                folder.url.path,
                dtype: .float32,
                device: .cpu,
                vae: other
            )
        }
        #expect(error?.message.contains("4 channels, but the transformer expects 8") == true)
    }

    private func stream(
        vae: String? = "tiny",
        _ change: (inout StreamOptions) -> Void = { _ in }
    ) throws -> VideoStream {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder.url.path)
        try TinyModel.writeTinyVAE(to: folder.path("taew2_1.safetensors"))
        let model = try StreamModel.load(
            folder.url.path,
            dtype: .float32,
            device: .cpu,
            vae: vae
        )
        var options = StreamOptions(model.configuration, height: 48, width: 64)
        change(&options)
        return try VideoStream(model, prompt: "a pencil sketch", options: options)
    }

    private func clip(_ count: Int) throws -> [VideoFrame] {
        try (0..<count).map { shade in
            let pixels = (0..<64 * 48 * 3).map { UInt8(truncatingIfNeeded: $0 / 3 + 9 * shade) }
            return try VideoFrame(width: 64, height: 48, pixels: pixels)
        }
    }
}
