import Foundation
import GoldenSupport
import ModelSupport
import SwanCheckpoints
import SwanMedia
import SwanModels
import SwanSystem
import Testing
import Torch

@testable import SwanDatasets
@testable import SwanPipelines

@Suite struct LatentEncodingTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func writeVideo(_ name: String, frames: Int, shade: Int) throws {
        let writer = try VideoWriter(
            path: folder.path(name),
            width: 64,
            height: 48,
            frameRate: #require(Rational(16, 1))
        )
        for index in 0..<frames {
            let pixels = [UInt8](repeating: UInt8(shade + index), count: 64 * 48 * 3)
            try writer.append(VideoFrame(width: 64, height: 48, pixels: pixels))
        }
        try writer.finish()
    }

    private func write(_ text: String, _ name: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: folder.path(name)))
    }

    @Test func captionsFromAFolderOrAFile() throws {
        for name in ["b.mp4", "a.mp4"] { try writeVideo(name, frames: 1, shade: 9) }
        #expect(throws: SwanError.self) { try CaptionedVideos(folder.url.path) }
        try write(" a fox\n", "a.txt")
        try write("a cat", "b.txt")
        let found = try CaptionedVideos(folder.url.path).videos
        #expect(found.map(\.caption) == ["a fox", "a cat"])
        try write("{\"b.mp4\": \"x\"}", "c.json")
        #expect(
            try CaptionedVideos(folder.path("c.json")).videos
                == [.init(path: folder.path("b.mp4"), caption: "x")]
        )
        for wrong in ["{\"none.mp4\": \"x\"}", "{}", "[1]", "{\"b.mp4\": 3}"] {
            try write(wrong, "c.json")
            #expect(throws: SwanError.self, "\(wrong)") {
                try CaptionedVideos(folder.path("c.json"))
            }
        }
    }

    /// Latents are those of the autoencoder; short videos are left out, changed ones encoded again.
    @Test func encodesOnce() throws {
        _ = try RandomCheckpoint(.textToVideo, .diffusers, at: folder.path("model"))
        var options = GenerationOptions()
        (options.device, options.dtype) = ("cpu", .float32)
        let model = try GenerationModel(folder.path("model"), options: options)
        let size = GenerationSettings.PictureSize(width: 32, height: 32)
        let encoder = try ClipEncoder(model, size: size, frames: 5)
        #expect(encoder.shape == [2, 16, 4, 4])
        for (index, frames) in [7, 3, 5].enumerated() {
            try writeVideo("\(index).mp4", frames: frames, shade: 40 * index)
            try write("caption \(index)", "\(index).txt")
        }
        let videos = try CaptionedVideos(folder.url.path)
        let encoding = try LatentEncoding(videos, to: folder.path("latents"))
        func outcomes() throws -> [LatentEncoding.Outcome] {
            var outcomes: [LatentEncoding.Outcome] = []
            try encoding.run(encoder, check: {}) { outcomes.append($1) }
            return outcomes
        }
        #expect(try outcomes() == [.encoded, .tooShort, .encoded])
        #expect(try outcomes() == [.kept, .tooShort, .kept])
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSinceNow: 100)],
            ofItemAtPath: folder.path("2.mp4")
        )
        #expect(try outcomes() == [.kept, .tooShort, .encoded])

        let file = try TorchArchive(path: folder.path("latents/00000000.pt"))
        let stored = try #require(file.tensors()["caption 0"]).load()
        #expect(stored.shape == [1, 2, 16, 4, 4])
        let reader = try VideoReader(path: folder.path("0.mp4"))
        var frames: [VideoFrame] = []
        while frames.count < 5, let frame = try reader.nextFrame() {
            frames.append(try frame.covering(width: 32, height: 32))
        }
        let pixels = try concatenated(
            frames.map { try ImageCondition.picture($0, on: .cpu).unsqueezed(2) },
            dim: 2
        )
        let expected = try model.autoencoder().latents(of: pixels).permuted(0, 2, 1, 3, 4)
        try expectClose(stored, expected, absolute: 1e-5)
        #expect(try LatentPacking(folder.path("latents")).write(to: folder.path("db")).rows == 2)
    }
}
