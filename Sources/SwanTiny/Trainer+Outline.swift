package import SwanCheckpoints
import SwanMedia
import SwanSystem
import SwanTraining
package import Torch

extension Trainer {
    /// What a run would do. Opens the footage; writes nothing, and throws what would keep the run from starting.
    package static func outline(
        recipe: Recipe,
        root: String,
        output: String,
        resume: Bool,
        device: Device
    ) throws -> JobOutline {
        try recipe.check()
        try recipe.files(root: root, output: output).check()
        try TrainingFolder.check(output, recipe: recipe, resume: resume)
        _ = try ClipMix(recipe.data, root: root, seed: recipe.seed)
        let start = try recipe.start.map { try StartModel($0, for: recipe) }
        var outline = JobOutline.training("recipe", output, resume)
        outline.add("name", recipe.name)
        outline.add("starts_from", start == nil ? "random weights" : recipe.start)
        outline.add("footage", root)
        outline.add("videos", .whole(recipe.data.videos.count))
        outline.add("styles", .list(recipe.styles.map(\.name)))
        if start == nil { outline.add("autoencoder_steps", .whole(recipe.vae.training.steps)) }
        let phases = recipe.transformer.phases
        outline.add("steps", .whole(phases.reduce(0) { $0 + $1.steps }))
        outline.add("sizes", .list(phases.map { "\($0.size)x\($0.size), \($0.steps) steps" }))
        outline.addPlace(device, threads: recipe.threads)
        outline.add("least_checkpoint_bytes", bytes: recipe.leastCheckpointBytes)
        return outline
    }
}

extension StyleLoRATrainer {
    /// What a run would do. Opens the footage; writes nothing, and throws what would keep the run from starting.
    package static func outline(
        recipe: StyleLoRARecipe,
        root: String,
        output: String,
        resume: Bool,
        device: Device
    ) throws -> JobOutline {
        let path = BundledModels.folder(recipe.start) ?? recipe.start
        _ = try StartModel(recipe.start, for: Recipe(contentsOf: path + "/recipe.yaml"))
        try TrainingFolder.check(output, recipe: recipe, resume: resume)
        _ = try ClipMix(recipe.data, root: root, seed: recipe.seed)
        var outline = JobOutline.training("LoRA of a look", output, resume)
        outline.add("name", recipe.name)
        outline.add("look", recipe.look.name)
        outline.add("model", recipe.start)
        outline.add("footage", root)
        outline.add("rank", .whole(recipe.lora.rank))
        outline.add("steps", .whole(recipe.phases.reduce(0) { $0 + $1.steps }))
        outline.addPlace(device, threads: recipe.threads)
        return outline
    }
}

extension TextToVideoTrainer {
    /// What a run would do. Writes nothing, and throws what would keep the run from starting.
    package static func outline(
        recipe: TextToVideoRecipe,
        output: String,
        resume: Bool,
        device: Device
    ) throws -> JobOutline {
        _ = try FrozenAutoencoder(of: recipe.autoencoder)
        try TrainingFolder.check(output, recipe: recipe, resume: resume)
        var outline = JobOutline.training("text to video", output, resume)
        outline.add("name", recipe.name)
        outline.add("autoencoder", recipe.autoencoder)
        outline.add("clips", .whole(recipe.video.clips))
        outline.add("size", "\(recipe.video.size)x\(recipe.video.size)")
        outline.add("text_encoder_steps", .whole(recipe.text.steps))
        outline.add("steps", .whole(recipe.transformer.steps))
        outline.addPlace(device, threads: recipe.threads)
        return outline
    }
}

extension JobOutline {
    fileprivate static func training(_ kind: String, _ output: String, _ resume: Bool) -> Self {
        var outline = JobOutline()
        outline.add("command", "train")
        outline.add("kind", kind)
        outline.add(run: output, resume: resume, begunBy: "recipe.yaml")
        return outline
    }

    fileprivate mutating func addPlace(_ device: Device, threads: Int) {
        add("device", "\(device)")
        add("threads", .whole(threads))
        add("estimated_time_seconds", .unknown("the first steps say how long one takes"))
    }
}
