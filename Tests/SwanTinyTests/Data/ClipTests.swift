import Foundation
import GoldenSupport
import SwanMedia
import SwanTiny
import SwanTraining
import Testing
import Torch
import SwanSystem

@Suite struct ClipTests {
    @Test func clipsDependOnlyOnSeedAndIndex() throws {
        let folder = try SampleFootage()
        let first = try ClipMix(folder.config, root: folder.path, seed: 5)
        let again = try ClipMix(folder.config, root: folder.path, seed: 5)
        let other = try ClipMix(folder.config, root: folder.path, seed: 6)
        for index in [0, 1, 2, 3, 1 << 48] as [UInt64] {
            let clip = try bytes(first, index)
            #expect(try bytes(again, index) == clip)
            #expect(try bytes(other, index) != clip)
            #expect(try bytes(first, index + 1) != clip)
        }
    }

    @Test func clipsAreTheSameOnManyThreads() async throws {
        let folder = try SampleFootage()
        let mix = try ClipMix(folder.config, root: folder.path, seed: 5)
        let expected = try (0..<8).map { try bytes(mix, UInt64($0)) }
        let found = try await withThrowingTaskGroup(of: (Int, [Float]).self) { group in
            for index in 0..<8 {
                group.addTask { (index, try bytes(mix, UInt64(index))) }
            }
            return try await group.reduce(into: [Int: [Float]]()) { $0[$1.0] = $1.1 }
        }
        for (index, clip) in expected.enumerated() { #expect(found[index] == clip) }
    }

    @Test(arguments: [[1, 64, 64], [9, 64, 64], [5, 32, 96], [5, 160, 160]])
    func clipsHaveTheRequestedShapeAndRange(size: [Int]) throws {
        let folder = try SampleFootage()
        for config in folder.single {
            let mix = try ClipMix(config, root: folder.path, seed: 1)
            for index in 0..<6 as Range<UInt64> {
                let clip = try mix.clip(
                    index: index,
                    frames: size[0],
                    height: size[1],
                    width: size[2]
                )
                #expect(clip.shape == [size[0], 3, size[1], size[2]])
                #expect(clip.dtype == .float32)
                #expect(!clip.requiresGrad)
                #expect(try clip.min().item() >= 0)
                #expect(try clip.max().item() <= 1)
                #expect(try clip.isFinite().all())
            }
        }
    }

    @Test func clipsCanBeTrainedOn() throws {
        let mix = try ClipMix(DataConfig(), seed: 1)
        let clip = try mix.clip(index: 0, frames: 1, height: 32, width: 32)
        let weight = try Tensor.ones([1, 3, 3, 3])
        try weight.setRequiresGrad()
        let sum = try conv2d(clip, weight).sum()
        #expect(try gradients(of: sum, for: [weight])[0] != nil)
    }

    @Test func footageMoves() throws {
        let folder = try SampleFootage()
        for config in folder.single {
            let mix = try ClipMix(config, root: folder.path, seed: 1)
            let moving = try (0..<10).count { index in
                let clip = try mix.clip(index: UInt64(index), frames: 5, height: 64, width: 64)
                return try (clip.selected(0, 4) - clip.selected(0, 0)).abs().mean().item() > 1e-3
            }
            #expect(moving >= 5)
        }
    }

    @Test func videosKeepTheirColors() throws {
        let folder = try SampleFootage()
        // Half of the clips are not recolored, so some show the video's own red background.
        let mix = try ClipMix(folder.single[2], root: folder.path, seed: 1)
        let reds = try (0..<20).count { index in
            let clip = try mix.clip(index: UInt64(index), frames: 1, height: 64, width: 64)
            let mean = try clip.mean([0, 2, 3]).array(of: Double.self)
            return abs(mean[0] - 0.8) < 0.12 && abs(mean[2] - 0.2) < 0.12
        }
        #expect(reds >= 5)
    }

    @Test func mixesUseEverySource() throws {
        let folder = try SampleFootage()
        let alone = try folder.single.map { try ClipMix($0, root: folder.path, seed: 1) }
        #expect(alone.count == 3)
        let mix = try ClipMix(folder.config, root: folder.path, seed: 1)
        // The test video has little blue, the still has much, and drawn scenes are in between.
        let means = try (0..<40).map { index in
            try mix.clip(index: UInt64(index), frames: 1, height: 64, width: 64).mean([0, 2, 3])
                .array(of: Double.self)
        }
        #expect(means.contains { $0[0] > $0[2] + 0.3 })
        #expect(means.contains { $0[2] > $0[0] + 0.3 })
        #expect(means.contains { abs($0[2] - $0[0]) < 0.25 })
    }

    @Test func examplesCycleThroughTheSources() throws {
        let folder = try SampleFootage()
        let mix = try ClipMix(folder.config, root: folder.path, seed: 1)
        func pixels(_ mix: ClipMix, _ number: Int) throws -> [Float] {
            try mix.example(number, frames: 5, height: 48, width: 64).array()
        }
        for (number, config) in folder.single.enumerated() {
            let alone = try ClipMix(config, root: folder.path, seed: 1)
            #expect(try pixels(mix, number) == pixels(alone, number))
            #expect(try pixels(mix, number) != pixels(mix, number + folder.single.count))
        }
    }

    @Test func namesMissingFootage() {
        let config = DataConfig(procedural: 0, videos: [.init(file: "none.mp4", weight: 1)])
        let error = #expect(throws: SwanError.self) {
            try ClipMix(config, root: "/tmp", seed: 0)
        }
        #expect(error?.code == .noSuchFile)
        #expect(error?.message.contains("/tmp/none.mp4") == true)
    }

    @Test func refusesFootageThatIsNotAVideo() throws {
        let folder = try SampleFootage()
        let config = DataConfig(procedural: 0, videos: [.init(file: "text.mp4", weight: 1)])
        #expect(throws: SwanError.self) { try ClipMix(config, root: folder.path, seed: 0) }
    }

    @Test(arguments: [-1, Double.nan, 0]) func refusesInvalidWeights(
        weight: Double
    ) {
        let error = #expect(throws: SwanError.self) {
            try ClipMix(DataConfig(procedural: weight), seed: 0)
        }
        #expect(error?.code == .invalidRecipe)
    }
}

private func bytes(_ mix: ClipMix, _ index: UInt64) throws -> [Float] {
    try mix.clip(index: index, frames: 5, height: 48, width: 64).array()
}

/// A folder with a small video and a picture.
private struct SampleFootage {
    private let folder: TemporaryDirectory

    var path: String { folder.url.path }

    init() throws {
        folder = try TemporaryDirectory()
        try FileManager.default.createDirectory(
            at: folder.url.appendingPathComponent("stills"),
            withIntermediateDirectories: true
        )
        let writer = try VideoWriter(
            path: folder.path("video.mp4"),
            width: 128,
            height: 96,
            frameRate: .one
        )
        for time in 0..<12 {
            try writer.append(Self.frame(128, 96, ground: [204, 60, 51], square: 8 * time))
        }
        try writer.finish()
        let still = try Self.frame(200, 140, ground: [20, 90, 230], square: 60)
        try writePNG(still, folder.path("stills/a.png"))
        _ = try folder.file("text.mp4", text: "no video")
    }

    private let stills = DataConfig.Stills(files: ["stills"], weight: 1)
    private let video = DataConfig.Video(file: "video.mp4", weight: 1)

    var config: DataConfig { DataConfig(procedural: 1, stills: stills, videos: [video]) }

    /// A configuration for each source alone: drawn scenes, stills, video.
    var single: [DataConfig] {
        [
            DataConfig(), DataConfig(procedural: 0, stills: stills),
            DataConfig(procedural: 0, videos: [video]),
        ]
    }

    /// A dark square on a background of one color.
    private static func frame(
        _ width: Int,
        _ height: Int,
        ground: [UInt8],
        square: Int
    ) throws -> VideoFrame {
        var pixels: [UInt8] = []
        for y in 0..<height {
            for x in 0..<width {
                let inside = (square..<(square + 20)).contains(x) && (30..<50).contains(y)
                pixels += inside ? [30, 40, 30] : ground
            }
        }
        return try VideoFrame(width: width, height: height, pixels: pixels)
    }
}
