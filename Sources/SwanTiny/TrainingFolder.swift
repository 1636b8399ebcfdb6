import Foundation
import SwanCheckpoints
import SwanSystem
import SwanModels
import SwanText
import SwanTraining
import Torch

/// An autoencoder with the measured statistics of its latents.
struct TrainedAutoencoder {
    let weights: [String: Tensor]
    let config: WanVAEConfig
    /// The loss weight of each latent channel.
    let channelWeights: [Double]
}

/// The output folder of a training run, in the layout of a model that can be streamed.
///
/// Each component is written when it is done, its configuration last, so that a component with a
/// configuration is complete.
struct TrainingFolder {
    /// Metadata for every weights file: the recipe that produced it, and its license.
    let metadata: [String: String]
    private let root: URL
    let writer: ModelFolderWriter
    /// Nil if another process writes the folder.
    private let lock: FolderLock?

    /// Creates the folder, or opens that of an earlier run with the same recipe if `resume`.
    ///
    /// - Parameters:
    ///   - isWriter: Whether this process writes the folder, alone. Others open it when the writer
    ///     has, and write nothing.
    ///   - owner: The job, which continues what it has begun even without `resume`.
    init<Text: RecipeText>(
        _ path: String,
        recipe: Text,
        resume: Bool,
        isWriter: Bool = true,
        owner: RunOwner? = nil
    ) throws {
        root = URL(fileURLWithPath: path, isDirectory: true)
        let text = try recipe.text()
        metadata = [
            "format": "pt", "name": recipe.name, "recipe": text, "seed": String(recipe.seed),
            "license": recipe.license,
        ]
        writer = ModelFolderWriter(path, metadata: metadata)
        guard isWriter else {
            lock = nil
            return
        }
        let begun = root.appending(path: "recipe.yaml")
        let isBegun = try Self.check(path, recipe: recipe, resume: resume, owner: owner)
        do {
            try FileManager.default.createDirectory(at: root, withIntermediateDirectories: true)
            lock = try FolderLock(path)
            if isBegun { try lock?.removePartialFiles() }
            try owner?.sign(path)
            // The existing file may be an equal recipe written by hand, with comments.
            if try !isBegun || Text.read(begun.path) != recipe {
                try OutputPath.write(text.utf8, to: begun.path)
            }
        } catch let error as CocoaError {
            throw SwanError(writing: path, error)
        }
    }

    /// Throws if a run of a recipe cannot use a folder; returns whether it has begun there. Writes nothing.
    @discardableResult
    static func check<Text: RecipeText>(
        _ path: String,
        recipe: Text,
        resume: Bool,
        owner: RunOwner? = nil
    ) throws -> Bool {
        let root = URL(fileURLWithPath: path, isDirectory: true)
        let begun = root.appending(path: "recipe.yaml")
        let isBegun = FileManager.default.fileExists(atPath: begun.path)
        guard resume || !isBegun || owner?.continues(path) == true else {
            throw SwanError(
                .cannotWrite,
                "\(path): contains a training run; continue it with --resume, or use another folder"
            )
        }
        if isBegun {
            try recipe.requireSame(as: Text.read(begun.path), in: begun.path)
        } else if let other = contents(of: root) {
            throw SwanError(
                .cannotWrite,
                "\(path): contains \(other.printable()) but no recipe.yaml, so it is not a training run; "
                    + "use another folder"
            )
        }
        return isBegun
    }

    /// Returns the first file or folder that belongs to a model of any layout or that a run would
    /// replace; nil if there is none.
    private static func contents(of root: URL) -> String? {
        func names(_ folder: String) -> [String] {
            Folder.names(in: root.appending(path: folder).path).sorted()
        }
        let found = names("").first { name in
            modelNames.contains(name)
                || !name.hasPrefix(".") && weightSuffixes.contains { name.hasSuffix($0) }
        }
        return found
            ?? ["events", "samples"].lazy.compactMap { folder in
                names(folder).first.map { folder + "/" + $0 }
            }.first
    }

    /// Folders and files of models in Swan's, diffusers', the original and ComfyUI's layouts.
    private static let modelNames: Set = [
        "vae", "transformer", "transformer_2", "text_encoder", "image_encoder", "tokenizer",
        "scheduler", "checkpoints", "google", "high_noise_model", "low_noise_model",
        "diffusion_models", "unet", "text_encoders", "clip", "clip_vision", "taehv", "vae_approx",
        "stream.yaml", "config.json", "configuration.json", "model_index.json", "spiece.model",
        "tokenizer.json",
    ]
    private static let weightSuffixes = [
        ".safetensors", ".safetensors.index.json", ".pth", ".pt",
    ]

    /// Returns the checkpoints of a stage.
    func checkpoints(_ stage: String, _ options: CheckpointSchedule) throws -> Checkpoints {
        try Checkpoints(
            folder: root.appending(path: "checkpoints"),
            stage: stage,
            kept: options.kept
        )
    }

    /// Returns the record of a stage.
    func record(_ stage: String, _ options: SampleOptions) -> StageRecord {
        StageRecord(stage, in: root, options)
    }

    // MARK: - Components

    /// Whether a folder has the autoencoder of an earlier run.
    static func hasAutoencoder(_ folder: String) -> Bool {
        ["checkpoints/vae.safetensors", "vae/config.json"].allSatisfy {
            FileManager.default.fileExists(atPath: "\(folder)/\($0)")
        }
    }

    /// Loads the autoencoder of an earlier run, before it was rounded for storage; nil if there is
    /// none.
    func autoencoder(on device: Device) throws -> TrainedAutoencoder? {
        let path = root.appending(path: "checkpoints/vae.safetensors").path
        let config = root.appending(path: "vae/config.json")
        guard Self.hasAutoencoder(root.path) else { return nil }
        let file = try SummedFile.open(
            path,
            remedy: "remove it, and --resume recreates it from the checkpoints of the stage 'vae'"
        )
        var weights: [String: Tensor] = [:]
        for key in file.keys where key != Self.channelWeightsKey {
            weights[key] = try file.tensor(key).cloned().to(device)
        }
        // Older files do not contain the configuration; use the model's.
        let sizes =
            try file.metadata[Self.configKey].map { Data($0.utf8) } ?? SmallFile.data(config.path)
        return TrainedAutoencoder(
            weights: weights,
            config: try JSONDecoder().decode(WanVAEConfig.self, from: sizes),
            channelWeights: try file.tensor(Self.channelWeightsKey).array(of: Double.self)
        )
    }

    /// Writes the autoencoder's component, and what a resumed run needs of it.
    func save(_ vae: TrainedAutoencoder) throws {
        guard lock != nil else { return }
        var exact = vae.weights
        exact[Self.channelWeightsKey] = try Tensor(
            vae.channelWeights,
            [vae.channelWeights.count]
        )
        let encoder = JSONEncoder()
        // Sorted keys, so that the same run always produces the same bytes.
        encoder.outputFormatting = .sortedKeys
        var facts = metadata
        facts[Self.configKey] = String(decoding: try encoder.encode(vae.config), as: UTF8.self)
        try SummedFile.write(
            exact,
            metadata: facts,
            to: checkpointFolder().appending(path: "vae.safetensors").path
        )
        try writer.write(vae.weights, config: vae.config, class: "AutoencoderKLWan", as: .vae)
    }

    /// Loads the tokenizer, or trains it with `train` if no earlier run has done so.
    func tokenizer(_ train: () throws -> Data) throws -> Tokenizer {
        let path = try writer.path(of: .tokenizer)
        let sum = try checkpointFolder().appending(path: "tokenizer.sha256").path
        if FileManager.default.fileExists(atPath: path) {
            let remedy = "remove it, and --resume trains it again with the same result"
            try SummedFile.verify(path, sum: sum, remedy: remedy)
        } else {
            try SummedFile.write(train(), to: path, sum: sum)
        }
        return try Tokenizer(contentsOf: path)
    }

    /// Writes the transformer, the text encoder and the stream configuration from the trained
    /// weights.
    func saveTransformer(_ weights: [String: Tensor], of recipe: Recipe) throws {
        guard lock != nil else { return }
        func part(_ prefix: String) -> [String: Tensor] {
            var found: [String: Tensor] = [:]
            for (key, tensor) in weights where key.hasPrefix(prefix) {
                found[String(key.dropFirst(prefix.count))] = tensor
            }
            return found
        }
        try writer.write(
            part("text_encoder."),
            config: recipe.text.model,
            class: "UMT5EncoderModel",
            as: .textEncoder
        )
        try writer.write(
            part("transformer."),
            config: recipe.transformer.model,
            class: "CausalWanModel",
            as: .transformer
        )
        var stream = recipe.stream
        stream.styles = KnownStyles(recipe.styles)
        try writer.write(stream)
    }

    // MARK: - Files

    private static let channelWeightsKey = "swan.channel_weights"
    private static let configKey = "swan.config"

    private func checkpointFolder() throws -> URL {
        let url = root.appending(path: "checkpoints")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        return url
    }
}
