import ArgumentParser
import SwanCheckpoints
import SwanDistillation
import SwanFineTuning
import SwanSystem
import SwanTiny
import SwanTraining
import Torch

extension TrainCommand {
    /// What a file is about.
    enum Kind {
        case student(StudentSettings.File)
        case distillation(Distillation.File)
        case tuning(FineTuning.File)
        case look, generator, recipe
    }

    /// What the file is about, by its keys.
    var kind: Kind {
        get throws {
            let overrides = student.overrides
            if let file = try StudentSettings.File(recipe, overrides, root: data) {
                return .student(file)
            }
            if let name = overrides.keys.min() {
                throw ValidationError(
                    "--\(name.replacing("_", with: "-")) is for a student for pictures; "
                        + "\(recipe) has no student_config"
                )
            }
            if let file = try Distillation.File(recipe) { return .distillation(file) }
            if let file = try FineTuning.File(recipe) { return .tuning(file) }
            if StyleLoRARecipe.describes(recipe) { return .look }
            return TextToVideoRecipe.describes(recipe) ? .generator : .recipe
        }
    }

    /// What the training would do.
    func outline(on device: Device) throws -> JobOutline {
        switch try kind {
        case .student(let file):
            return try StudentDistillation.outline(file, options(on: device))
        case .distillation(let file): return try Distillation.outline(file, options(on: device))
        case .tuning(let file): return try FineTuning.outline(file, options(on: device))
        case .look:
            return try StyleLoRATrainer.outline(
                recipe: StyleLoRARecipe(contentsOf: recipe),
                root: data,
                output: output,
                resume: resume,
                device: device
            )
        case .generator:
            return try TextToVideoTrainer.outline(
                recipe: TextToVideoRecipe(contentsOf: recipe),
                output: output,
                resume: resume,
                device: device
            )
        case .recipe:
            try requireNoRunOptions()
            return try Trainer.outline(
                recipe: Recipe(contentsOf: recipe),
                root: data,
                output: output,
                resume: resume,
                device: device
            )
        }
    }
}
