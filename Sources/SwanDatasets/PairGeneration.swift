import Foundation
import SwanCheckpoints
package import SwanPipelines
import SwanSystem
import Torch

/// Writes a teacher's trajectories for a list of prompts, one file a prompt: `{prompt: [1, T, F, C, H, W]}`.
///
/// The noise of a prompt depends on the seed and its place in the list alone, so that a run continues
/// where it stopped, and several processes can share a list.
package struct PairGeneration: Sendable {
    /// What all files of a folder have in common. A folder made in another way is not continued.
    package struct Recipe: Codable, Equatable, Sendable {
        package let model: String
        package let steps: Int
        package let shift, guidance: Double
        package let negativePrompt: String?
        package let timesteps: [Int]
        package let shape: [Int]
        package let seed: UInt64
        package let dtype: String

        private enum CodingKeys: String, CodingKey {
            case model, steps, shift, guidance, negativePrompt = "negative_prompt", timesteps
            case shape, seed, dtype
        }

        /// Describes a run.
        ///
        /// - Parameter digest: That of the model; see `ModelDigest`.
        package init(
            digest: String,
            _ options: TrajectoryOptions,
            _ trajectory: TeacherTrajectory,
            dtype: String,
            seed: UInt64
        ) {
            (model, steps, shift) = (digest, options.steps, options.shift)
            (guidance, timesteps) = (options.guidance, options.timesteps)
            negativePrompt = trajectory.negativePrompt
            (shape, self.dtype, self.seed) = (trajectory.shape, dtype, seed)
        }
    }

    /// How far a run is.
    package struct Progress: Sendable {
        /// The number of prompts whose file is there, and of all.
        package let done, total: Int
        /// The seconds that the last one took; nil for those that were there already.
        package let seconds: Double?
    }

    private let prompts: [String]
    private let folder: String
    private let recipe: Recipe
    private static let recipeName = "pairs.json"
    /// How many prompts are encoded at a time.
    private static let batch = 64

    /// Creates a run, and the folder; one that was begun with the same recipe is continued.
    package init(_ prompts: [String], to folder: String, _ recipe: Recipe) throws {
        (self.prompts, self.folder, self.recipe) = (prompts, folder, recipe)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let path = "\(folder)/\(Self.recipeName)"
        guard FileManager.default.fileExists(atPath: path) else {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            try OutputPath.write(try encoder.encode(recipe) + Array("\n".utf8), to: path)
            return
        }
        let found: Recipe
        do {
            found = try JSONDecoder().decode(Recipe.self, from: SmallFile.data(path))
        } catch let error as DecodingError {
            throw SwanError(.invalidFile, "\(path): is not a recipe of pairs", cause: error)
        }
        guard found == recipe else {
            throw SwanError(
                .exists,
                "\(folder): has pairs of \(Self.difference(found, recipe)); choose another folder"
            )
        }
    }

    /// Names what differs.
    private static func difference(_ old: Recipe, _ new: Recipe) -> String {
        if old.model != new.model { return "another model" }
        if old.shape != new.shape { return "the shape \(old.shape), not \(new.shape)" }
        if old.timesteps != new.timesteps { return "the timesteps \(old.timesteps)" }
        if old.seed != new.seed { return "the seed \(old.seed)" }
        return
            "other settings (\(old.steps) steps, shift \(old.shift), guidance \(old.guidance), "
            + "\(old.dtype))"
    }

    private func path(_ index: Int) -> String {
        "\(folder)/\(String(format: "%05d", index)).pt"
    }

    /// Writes the files that are missing.
    ///
    /// - Parameters:
    ///   - share: This process's number and the number of processes: prompt i is that of process
    ///     i mod n.
    ///   - check: Called before each step; what it throws ends the run, and complete files stay.
    package func run(
        _ trajectory: TeacherTrajectory,
        share: (rank: Int, size: Int) = (0, 1),
        check: () throws -> Void,
        progress: (Progress) -> Void
    ) throws {
        let own = prompts.indices.filter { $0 % share.size == share.rank }
        var missing: [Int] = []
        for index in own where try !isThere(index) { missing.append(index) }
        var done = own.count - missing.count
        progress(Progress(done: done, total: own.count, seconds: nil))
        for start in stride(from: 0, to: missing.count, by: Self.batch) {
            let indices = missing[start..<min(start + Self.batch, missing.count)]
            let texts = indices.map { prompts[$0] }
            try check()
            try trajectory.prepare(texts)
            for index in indices {
                let began = ContinuousClock.now
                let states = try trajectory.states(
                    prompts[index],
                    seed: Seed.mixed(recipe.seed, UInt64(index)),
                    check: check
                )
                try TorchArchive.write([prompts[index]: states.unsqueezed(0)], to: path(index))
                done += 1
                let seconds = (ContinuousClock.now - began).seconds
                progress(Progress(done: done, total: own.count, seconds: seconds))
            }
            trajectory.forget(texts)
        }
    }

    /// Whether a file is there and is that of its prompt.
    private func isThere(_ index: Int) throws -> Bool {
        let path = path(index)
        guard FileManager.default.fileExists(atPath: path) else { return false }
        let tensors = try TorchArchive(path: path).tensors()
        guard tensors.count == 1, let (prompt, states) = tensors.first, prompt == prompts[index],
            states.shape == [1] + recipe.shape
        else {
            throw SwanError(
                .exists,
                "\(path): is not that of the prompt '\(prompts[index].prefix(60))': the list of "
                    + "prompts has changed; choose another folder"
            )
        }
        return true
    }
}
