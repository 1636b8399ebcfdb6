import Foundation
import GoldenSupport
import ModelSupport
import SwanSystem
import SwanTraining
import Testing
import Torch

@testable import SwanDistillation

/// A tiny model, its data, and the keys of a distillation of it.
struct TinyDistillation {
    let directory: TemporaryDirectory
    private let generator: Generator

    init() throws {
        directory = try TemporaryDirectory()
        generator = try Generator(seed: 5)
        try TinyModel.write(to: directory.path("model"))
        _ = try directory.file("prompts.txt", text: "a red ball\n\na cat at night\nneon rain\n")
    }

    /// Writes latents [rows, states, 4, 8, 4, 4]; one state is written without its dimension.
    func writeLatents(states: Int = 1) throws {
        var shape = [3, states, 4, 8, 4, 4]
        if states == 1 { shape.remove(at: 1) }
        try Safetensors.write(
            ["latents": .randn(shape, generator)],
            metadata: ["prompts": #"["a red ball", "a cat", "rain"]"#],
            to: directory.path("latents.safetensors")
        )
    }

    /// The file of a loss, with `changes` in place of its own keys.
    func file(_ loss: String, _ changes: [String: String] = [:]) throws -> Distillation.File {
        var keys = [
            "distillation_loss": loss, "model_path": "model", "generator_task": "causal_video",
            "real_task_type": "bidirectional_video", "fake_task_type": "bidirectional_video",
            "generator_name": "causal_wan", "denoising_step_list": "[900, 400, 0]",
            "data_path": "latents.safetensors", "image_or_video_shape": "[1, 4, 8, 4, 4]",
            "num_frame_per_block": "2", "batch_size": "2", "lr": "1.0e-3",
            "real_guidance_scale": "1.5", "backward_simulation": "false", "log_iters": "2",
            "dfake_gen_update_ratio": "2", "negative_prompt": "blurry", "seed": "3",
        ]
        keys.merge(changes) { _, new in new }
        let lines = keys.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)\n" }
        let path = try directory.file("\(UUID().uuidString).yaml", text: lines.joined())
        return try #require(try Distillation.File(path))
    }

    func options(_ output: String, steps: Int) -> RunOptions {
        var options = RunOptions(output: directory.path(output))
        options.root = directory.url.path
        options.maximumSteps = steps
        options.threads = 1
        return options
    }

    /// The generator that a run has written.
    func generator(of output: String) throws -> [String: [Float]] {
        let path = directory.path("\(output)/transformer/diffusion_pytorch_model.safetensors")
        let file = try SafetensorsFile(path: path)
        var found: [String: [Float]] = [:]
        for key in file.keys { found[key] = try file.tensor(key).to(.float32).array() }
        return found
    }
}
