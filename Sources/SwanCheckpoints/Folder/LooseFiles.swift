import Foundation
import SwanModels
import SwanSystem
import SwanText
import Torch
import TorchNN

/// Weights in single files of any name, as in ComfyUI, identified by their keys.
package struct LooseFiles {
    private let checkpoints: OpenCheckpoints

    init(_ checkpoints: OpenCheckpoints) { self.checkpoints = checkpoints }

    /// The folders where ComfyUI looks for each kind of model.
    private static let folders = [
        "diffusion_models", "unet", "text_encoders", "clip", "vae", "clip_vision",
    ]

    /// The folder that contains the other parts of the model that a transformer file belongs to.
    ///
    /// ComfyUI keeps a folder for each kind of model, side by side.
    package static func root(of file: String) -> String {
        let folder = URL(fileURLWithPath: file).deletingLastPathComponent()
        let isShelf = folders.contains(folder.lastPathComponent)
        return (isShelf ? folder.deletingLastPathComponent() : folder).path
    }

    /// Returns `parts`, with missing parts filled in from single files in the folder.
    ///
    /// Two transformers are an error unless their names mark one as high-noise and one as low-noise. If
    /// several files match another part, the first by name that fits the transformer is used.
    func completing(
        _ parts: [ModelFolder.Part: ModelFolder.Files],
        under folder: String
    ) throws(SwanError) -> [ModelFolder.Part: ModelFolder.Files] {
        let needed: [ModelFolder.Part] = [.transformer, .vae, .textEncoder]
        guard needed.contains(where: { parts[$0] == nil }) || Self.isLoose(parts[.transformer])
        else {
            return parts
        }
        var found: [CheckpointKind: [String]] = [:]
        for file in try Self.files(under: folder) {
            let checkpoint: Checkpoint
            do {
                checkpoint = try checkpoints.open(file)
            } catch {
                throw SwanError(
                    .invalidModel,
                    "\(error.message)\nthe file is in the model folder \(folder): repair or remove it"
                )
            }
            if let kind = checkpoint.kind { found[kind, default: []].append(file) }
        }
        var parts = parts
        try takeTransformers(found[.transformer, default: []], folder, &parts)
        for (part, kind) in [
            (ModelFolder.Part.vae, CheckpointKind.vae), (.textEncoder, .textEncoder),
            (.imageEncoder, .imageEncoder),
        ] where parts[part] == nil {
            for file in found[kind, default: []] where parts[part] == nil {
                let doesFit = part == .vae ? try fits(file, parts[.transformer]) : true
                if doesFit { parts[part] = ModelFolder.Files(data: file) }
            }
        }
        return parts
    }

    private func takeTransformers(
        _ files: [String],
        _ folder: String,
        _ parts: inout [ModelFolder.Part: ModelFolder.Files]
    ) throws(SwanError) {
        func file(of noise: String) -> String? { files.first { Self.name($0).contains(noise) } }
        if let given = parts[.transformer]?.data {
            // However the first of a pair was specified, the second is found by its name.
            for (own, other) in [("high_noise", "low_noise"), ("low_noise", "high_noise")]
            where parts[.lowNoiseTransformer] == nil && Self.name(given).contains(own) {
                let wanted = Self.name(given).replacingOccurrences(of: own, with: other)
                guard
                    let partner = files.first(where: { Self.name($0) == wanted }) ?? file(of: other)
                else { continue }
                let isHigh = own == "high_noise"
                parts[.transformer] = ModelFolder.Files(data: isHigh ? given : partner)
                parts[.lowNoiseTransformer] = ModelFolder.Files(data: isHigh ? partner : given)
            }
            return
        }
        if files.count == 2, let high = file(of: "high_noise"), let low = file(of: "low_noise") {
            parts[.transformer] = ModelFolder.Files(data: high)
            parts[.lowNoiseTransformer] = ModelFolder.Files(data: low)
            return
        }
        guard files.count <= 1 else {
            throw SwanError(
                .invalidModel,
                "\(folder) has \(files.count) transformers; specify one of the files as the model: "
                    + files.joined(separator: ", ")
            )
        }
        parts[.transformer] = files.first.map { ModelFolder.Files(data: $0) }
    }

    /// Whether an autoencoder has as many latent channels as the transformer outputs.
    private func fits(
        _ vae: String,
        _ transformer: ModelFolder.Files?
    ) throws(SwanError) -> Bool {
        guard let transformer else { return true }
        do {
            let network = try WanConfig().fitted(
                to: checkpoints.open(transformer.data).inWanNames()
            )
            let autoencoder = try checkpoints.open(vae).inWanNames()
            return try autoencoder.shape("conv2.weight")?.first == network.outDim
        } catch {
            let isNamed = error.message.hasPrefix(vae)
            throw SwanError(
                .invalidModel,
                isNamed ? error.message : error.about(transformer.data).message
            )
        }
    }

    /// Whether a part is missing or is a single file without a fixed name.
    private static func isLoose(_ files: ModelFolder.Files?) -> Bool {
        files.map { $0.config == nil && !name($0.data).hasPrefix("model.pt") } ?? true
    }

    private static func name(_ path: String) -> String {
        URL(fileURLWithPath: path).lastPathComponent.lowercased()
    }

    /// The weight files in the folder and in ComfyUI's subfolders, sorted by name. Shards are left out:
    /// the keys of one do not show what the others contain.
    private static func files(under folder: String) throws(SwanError) -> [String] {
        var files: [String] = []
        for folder in [folder] + folders.map({ folder + "/" + $0 })
        where FileManager.default.fileExists(atPath: folder) {
            do {
                let all = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
                let names = all.filter { name in
                    [".safetensors", ".pth", ".pt"].contains { name.hasSuffix($0) }
                        && !name.hasPrefix(".") && name.firstMatch(of: /-\d+-of-\d+\./) == nil
                }
                // Names appear in messages: reject those that are not plain text before
                // one is printed unescaped.
                if let odd = names.first(where: { $0 != $0.printable(limit: 255) }) {
                    throw SwanError(
                        .invalidModel,
                        "\(folder): a file name in this folder is not plain text: \"\(odd.printable())\""
                    )
                }
                files += names.map { folder + "/" + $0 }
            } catch let error as SwanError {
                throw error
            } catch {
                throw SwanError(
                    .noSuchModel,
                    "\(folder): \(error.localizedDescription)",
                    cause: error
                )
            }
        }
        return files
    }
}
