package import SwanCheckpoints
import SwanModels
import SwanSystem
package import SwanTraining
import Yams

/// A training run of a LoRA that gives a restyling model one more look.
///
/// The look is what the model makes of prompts that ask for no change, so that it is switched on by
/// the LoRA alone, at any strength.
package struct StyleLoRARecipe: RecipeText, Sendable {
    /// The name of the LoRA.
    package var name: String
    /// The seed of all random numbers.
    package var seed: UInt64
    /// The license of the LoRA.
    package var license: String
    /// The number of CPU threads.
    package var threads: Int
    /// The model: the name of a bundled one, or a folder that `swan train` has written.
    package var start: String
    /// The look.
    package var look: Style
    /// The size of the LoRA.
    package var lora: Shape
    /// The training data; paths are relative to the data root.
    package var data: DataConfig
    /// The phases of training, in order.
    package var phases: [StreamPhase]
    /// The optimizer and its learning rate schedule.
    package var optimizer: OptimizerOptions
    /// When checkpoints are written.
    package var checkpoints: CheckpointSchedule
    /// Sample sheets; by default, 3 clips every 200 steps.
    package var samples: SampleOptions?

    /// The size of a LoRA and the names of its file.
    package struct Shape: Codable, Sendable, Equatable {
        package var rank: Int
        package var alpha: Double
        package var targets: [String]
        package var format: LoRAFormat
    }

    static let changeable: Set = ["checkpoints", "samples", "threads"]

    /// Reads a recipe from a file; a missing, unknown or mistyped key is an error that names it.
    package init(contentsOf path: String) throws { self = try Self.read(path) }

    /// Whether a file is a recipe of this kind: a mapping with the key `look`. Files that cannot be
    /// read are left to the reader of the usual recipes, which says why.
    package static func describes(_ path: String) -> Bool {
        guard let text = try? SmallFile.text(path), let node = try? StrictYAML.compose(text) else {
            return false
        }
        return node.mapping?.contains { $0.key.string == "look" } ?? false
    }

    /// Throws `invalidRecipe` with the first value that cannot be.
    func check() throws {
        do {
            try checkNumbers()
        } catch {
            throw SwanError(.invalidRecipe, error.message, cause: error)
        }
        try data.check()
    }

    private func checkNumbers() throws(SwanError) {
        let limits = NumberLimits.self
        try limits.require(name == name.printable(), "name is not plain text")
        try limits.require(license == license.printable(), "license is not plain text")
        try limits.require(threads, in: 1...1_024, "threads")
        try limits.require(!look.changesNothing, "look: needs filters")
        try limits.require(lora.rank, in: 1...4_096, "lora.rank")
        try limits.require(lora.alpha, in: 1e-6...1e6, "lora.alpha")
        try limits.require(!lora.targets.isEmpty, "lora.targets: names no matrices")
        try limits.require(!phases.isEmpty, "phases: must not be empty")
        for phase in phases {
            try limits.require(
                phase.steps > 0 && phase.batch > 0 && phase.pool > 0 && phase.firstClips > 0
                    && phase.stepsPerClip > 0 && phase.size > 0,
                "phases: values must be at least 1"
            )
            let misfits = look.filters.compactMap { $0.misfit(phase.size) }
            try limits.require(misfits.isEmpty, "look: \(misfits.first ?? "")")
        }
        try optimizer.requireRanges("optimizer")
        try limits.require(
            optimizer.muon != true,
            "optimizer.muon: is for whole matrices, not for the parts of a LoRA"
        )
        try limits.require(checkpoints.everySteps, in: limits.count, "checkpoints.every_steps")
        try limits.require(checkpoints.kept, in: limits.list, "checkpoints.kept")
        try limits.require(checkpoints.everyMinutes, in: 1e-6...1e6, "checkpoints.every_minutes")
    }
}
