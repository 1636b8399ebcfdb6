import Foundation
import GoldenSupport
import ModelSupport
import SwanCheckpoints
import SwanMedia
import SwanSystem
import Testing
import SwanTraining
import Torch

@testable import SwanFineTuning

/// A tiny model, its data, and the keys of a fine-tuning of it.
struct TinyTuning {
    let directory: TemporaryDirectory

    /// Writes a live model with latents of 8 channels.
    init() throws {
        directory = try TemporaryDirectory()
        try TinyModel.write(to: directory.path("model"))
        try writeLatents(channels: 8)
    }

    /// Writes a model that generates, with two captioned videos.
    init(_ model: RandomCheckpoint.Model) throws {
        directory = try TemporaryDirectory()
        _ = try RandomCheckpoint(model, .diffusers, at: directory.path("model"))
        try FileManager.default.createDirectory(
            atPath: directory.path("clips"),
            withIntermediateDirectories: true
        )
        try writeVideo("clips/wide.mp4", width: 96, height: 64, frames: 9, "a red ball")
        try writeVideo("clips/tall.mp4", width: 64, height: 96, frames: 6, "a blue box")
    }

    /// Writes two rows of latents [N, F, C, H, W] of odd sizes.
    func writeLatents(channels: Int) throws {
        try Safetensors.write(
            ["latents": .randn([3, 5, channels, 6, 10], Generator(seed: 5))],
            metadata: ["prompts": #"["a red ball", "a cat at night", "rain"]"#],
            to: directory.path("latents.safetensors")
        )
    }

    /// Writes a moving gradient, and its caption.
    func writeVideo(
        _ name: String,
        width: Int,
        height: Int,
        frames: Int,
        _ caption: String
    ) throws {
        let path = directory.path(name)
        let rate = try #require(Rational(name.contains("fast") ? 24 : 16, 1))
        let writer = try VideoWriter(path: path, width: width, height: height, frameRate: rate)
        for index in 0..<frames {
            var pixels: [UInt8] = []
            for y in 0..<height {
                for x in 0..<width {
                    pixels += [
                        UInt8((x + 3 * index) % 256), UInt8(y % 256), UInt8((x * y) % 256),
                    ]
                }
            }
            try writer.append(VideoFrame(width: width, height: height, pixels: pixels))
        }
        try writer.finish()
        _ = try directory.file(name.replacing(".mp4", with: ".txt"), text: caption)
    }

    /// The file of a run, with `changes` in place of its own keys; an empty one removes a key.
    func file(_ changes: [String: String] = [:]) throws -> FineTuning.File {
        var keys = [
            "fine_tuning": "lora", "model_path": "model", "data": "[latents.safetensors]",
            "rank": "2", "alpha": "3", "lr": "1.0e-2", "batch_size": "2", "seed": "3",
            "save_every_steps": "2", "prompt_dropout": "0.3",
        ]
        keys.merge(changes) { _, new in new }
        let lines = keys.filter { !$0.value.isEmpty }.sorted { $0.key < $1.key }
            .map { "\($0.key): \($0.value)\n" }
        let path = try directory.file("\(UUID().uuidString).yaml", text: lines.joined())
        return try #require(try FineTuning.File(path))
    }

    func options(_ output: String, steps: Int) -> RunOptions {
        var options = RunOptions(output: directory.path(output))
        options.root = directory.url.path
        options.maximumSteps = steps
        options.threads = 1
        return options
    }

    /// All numbers of a file, by key.
    func numbers(_ name: String) throws -> [String: [Float]] {
        let file = try SafetensorsFile(path: directory.path(name))
        var found: [String: [Float]] = [:]
        for key in file.keys { found[key] = try file.tensor(key).to(.float32).array() }
        return found
    }
}
