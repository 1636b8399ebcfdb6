import Foundation
import SwanCheckpoints
import SwanSystem
import SwanModels
import SwanText
import Torch
import Yams

/// An autoencoder with what was measured of its latents.
struct TrainedAutoencoder {
    let weights: [String: Tensor]
    let config: WanVAEConfig
    /// How much an error counts in each latent channel.
    let channelWeights: [Double]
}

/// The folder that a trained model goes to, laid out as a stream loads it.
///
/// Each part appears when it is done, its configuration last, so that a part whose configuration is
/// there is whole.
struct TrainingFolder {
    /// Text that goes into every file of weights: what made them, and their licence.
    let metadata: [String: String]
    private let root: URL
    private let recipe: Recipe
    private let lock: FolderLock

    /// Makes the folder, or opens the one of an earlier run of the same recipe if `resume`.
    init(_ path: String, recipe: Recipe, resume: Bool) throws {
        root = URL(fileURLWithPath: path, isDirectory: true)
        self.recipe = recipe
        let text = try recipe.yaml()
        metadata = [
            "format": "pt", "name": recipe.name, "recipe": text, "seed": String(recipe.seed),
            "license": recipe.license,
        ]
        let begun = root.appending(path: "recipe.yaml")
        let isBegun = FileManager.default.fileExists(atPath: begun.path)
        guard resume || !isBegun else {
            throw TrainingError(
                .cannotWrite,
                "\(path): there is a training run in it; go on with --resume, or take another folder"
            )
        }
        if isBegun {
            try recipe.requireSame(as: Recipe(contentsOf: begun.path), in: begun.path)
        } else if let other = Self.contents(of: root) {
            throw TrainingError(
                .cannotWrite,
                "\(path): there is a model in it that no training run left (\(other) without a "
                    + "recipe.yaml); take another folder"
            )
        }
        do {
            try FileManager.default.createDirectory(at: root, withIntermediateDirectories: true)
            lock = try FolderLock(path)
            if isBegun { try Self.removePartialFiles(root) }
            // The same recipe may be written by hand, with comments.
            if try !isBegun || Recipe(contentsOf: begun.path) != recipe {
                try WholeFile.write(text.utf8, to: begun.path)
            }
        } catch let error as CocoaError {
            throw TrainingError(writing: path, error)
        }
    }

    /// What a model has in its folder, a run's or any other: the first of it that is there.
    private static func contents(of root: URL) -> String? {
        ["vae", "transformer", "text_encoder", "tokenizer", "checkpoints", "stream.yaml"].first {
            FileManager.default.fileExists(atPath: root.appending(path: $0).path)
        }
    }

    /// Removes what a process that was killed was writing. The lock of the folder says that no other
    /// one is.
    private static func removePartialFiles(_ root: URL) throws {
        let files = FileManager.default.enumerator(atPath: root.path)
        while let path = files?.nextObject() as? String {
            let url = root.appending(path: path)
            let name = url.lastPathComponent
            let isPartial =
                PartialName(name) != nil || name.hasPrefix(".dat.nosync")
                || name.wholeMatch(of: /.+\.\d+(-\d+)?\.partial/) != nil
            if isPartial { try FileManager.default.removeItem(at: url) }
        }
    }

    /// The checkpoints of a stage.
    func checkpoints(_ stage: String, _ options: CheckpointOptions) throws -> Checkpoints {
        try Checkpoints(
            folder: root.appending(path: "checkpoints"),
            stage: stage,
            kept: options.kept
        )
    }

    /// What a stage is watched by.
    func record(_ stage: String, _ options: SampleOptions) -> StageRecord {
        StageRecord(stage, in: root, options)
    }

    // MARK: - Parts

    /// The autoencoder of an earlier run, as it was before it was rounded for storage; nil if there
    /// is none.
    func autoencoder(on device: Device) throws -> TrainedAutoencoder? {
        let path = root.appending(path: "checkpoints/vae.safetensors").path
        let config = root.appending(path: "vae/config.json")
        guard FileManager.default.fileExists(atPath: config.path),
            FileManager.default.fileExists(atPath: path)
        else { return nil }
        let file = try SummedFile.open(
            path,
            remedy: "remove it, and --resume makes it again from the checkpoints of the stage 'vae'"
        )
        var weights: [String: Tensor] = [:]
        for key in file.keys where key != Self.channelWeightsKey {
            weights[key] = try file.tensor(key).cloned().to(device)
        }
        // Older files leave the configuration to the model's.
        let sizes =
            try file.metadata[Self.configKey].map { Data($0.utf8) } ?? SmallFile.data(config.path)
        return TrainedAutoencoder(
            weights: weights,
            config: try JSONDecoder().decode(WanVAEConfig.self, from: sizes),
            channelWeights: try file.tensor(Self.channelWeightsKey).array(of: Double.self)
        )
    }

    /// Writes the autoencoder's part, and what a resumed run needs of it.
    func save(_ vae: TrainedAutoencoder) throws {
        var exact = vae.weights
        exact[Self.channelWeightsKey] = try Tensor(
            vae.channelWeights,
            [vae.channelWeights.count]
        )
        let encoder = JSONEncoder()
        // In any other order the same run would not end with the same bytes.
        encoder.outputFormatting = .sortedKeys
        var facts = metadata
        facts[Self.configKey] = String(decoding: try encoder.encode(vae.config), as: UTF8.self)
        try SummedFile.write(
            exact,
            metadata: facts,
            to: part("checkpoints").appending(path: "vae.safetensors").path
        )
        try write(
            vae.weights,
            config: vae.config,
            class: "AutoencoderKLWan",
            part: "vae",
            file: "diffusion_pytorch_model.safetensors"
        )
    }

    /// The tokenizer; trained by `train` unless an earlier run has done so.
    func tokenizer(_ train: () throws -> Data) throws -> Tokenizer {
        let path = try part("tokenizer").appending(path: "spiece.model")
        let sum = try part("checkpoints").appending(path: "tokenizer.sha256").path
        if FileManager.default.fileExists(atPath: path.path) {
            let remedy = "remove it, and --resume trains it again, to the same"
            try SummedFile.verify(path.path, sum: sum, remedy: remedy)
        } else {
            try SummedFile.write(train(), to: path.path, sum: sum)
        }
        return try Tokenizer(contentsOf: path.path)
    }

    /// Writes the transformer, the text encoder and the stream's configuration from all weights.
    func saveTransformer(_ weights: [String: Tensor]) throws {
        func part(_ prefix: String) -> [String: Tensor] {
            var found: [String: Tensor] = [:]
            for (key, tensor) in weights where key.hasPrefix(prefix) {
                found[String(key.dropFirst(prefix.count))] = tensor
            }
            return found
        }
        try write(
            part("text_encoder."),
            config: recipe.text.model,
            class: "UMT5EncoderModel",
            part: "text_encoder",
            file: "model.safetensors"
        )
        try write(
            part("transformer."),
            config: recipe.transformer.model,
            class: "CausalWanModel",
            part: "transformer",
            file: "diffusion_pytorch_model.safetensors"
        )
        var stream = try YAMLEncoder().encode(recipe.stream)
        if let looks = KnownLooks(recipe.styles) {
            stream += try YAMLEncoder().encode(["looks": looks])
        }
        try WholeFile.write(stream.utf8, to: root.appending(path: "stream.yaml").path)
    }

    // MARK: - Files

    private static let channelWeightsKey = "swan.channel_weights"
    private static let configKey = "swan.config"

    private func part(_ name: String) throws -> URL {
        let url = root.appending(path: name)
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        return url
    }

    /// Weights in half precision, whose rounding is far below what training leaves undecided, and the
    /// configuration beside them.
    private func write(
        _ weights: [String: Tensor],
        config: some Encodable,
        class name: String,
        part: String,
        file: String
    ) throws {
        let folder = try self.part(part)
        var small: [String: Tensor] = [:]
        for (key, tensor) in weights { small[key] = try tensor.to(.float16) }
        try Safetensors.write(
            small,
            metadata: metadata,
            to: folder.appending(path: file).path
        )
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        let plain = try JSONSerialization.jsonObject(with: encoder.encode(config))
        guard var fields = plain as? [String: Any] else { return }
        fields["_class_name"] = name
        let data = try JSONSerialization.data(
            withJSONObject: fields,
            options: [.prettyPrinted, .sortedKeys]
        )
        try WholeFile.write(data, to: folder.appending(path: "config.json").path)
    }
}
