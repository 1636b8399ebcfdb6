import Foundation
import SwanModels
import SwanSystem
import SwanText
import Torch
import TorchNN

/// Weights in single files of any name, as ComfyUI keeps them: what one is, its keys tell.
package struct LooseFiles {
    private let checkpoints: OpenCheckpoints

    init(_ checkpoints: OpenCheckpoints) { self.checkpoints = checkpoints }

    /// Folders in which ComfyUI looks for each kind of model.
    private static let folders = [
        "diffusion_models", "unet", "text_encoders", "clip", "vae", "clip_vision",
    ]

    /// The folder that has the other parts of a transformer's file: ComfyUI keeps them side by side.
    package static func root(of file: String) -> String {
        let folder = URL(fileURLWithPath: file).deletingLastPathComponent()
        let isShelf = folders.contains(folder.lastPathComponent)
        return (isShelf ? folder.deletingLastPathComponent() : folder).path
    }

    /// The parts with those that single files in the folder hold.
    ///
    /// Two transformers are an error unless one is for high and one for low noise by its name. Of
    /// several files for another part, the first by name that fits the transformer is taken.
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
                    "\(error.message)\nit lies among the parts of \(folder): mend it, or take it away"
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
            // Of a pair the other one is found by its name, in whichever way the first is given.
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
                "\(folder) has \(files.count) transformers, so give one of the files as the model: "
                    + files.joined(separator: ", ")
            )
        }
        parts[.transformer] = files.first.map { ModelFolder.Files(data: $0) }
    }

    /// Whether an autoencoder's latents have the channels that the transformer gives.
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

    /// Whether a part is a file of no fixed name.
    private static func isLoose(_ files: ModelFolder.Files?) -> Bool {
        files.map { $0.config == nil && !name($0.data).hasPrefix("model.pt") } ?? true
    }

    private static func name(_ path: String) -> String {
        URL(fileURLWithPath: path).lastPathComponent.lowercased()
    }

    /// Files of weights in the folder and in ComfyUI's folders under it, by name. A shard is no file
    /// of its own: it says nothing of what the others hold.
    private static func files(under folder: String) throws(SwanError) -> [String] {
        var files: [String] = []
        for folder in [folder] + folders.map({ folder + "/" + $0 })
        where FileManager.default.fileExists(atPath: folder) {
            do {
                let all = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
                let names = all.filter { name in
                    [".safetensors", ".pth", ".pt"].contains { name.hasSuffix($0) }
                        && name.firstMatch(of: /-\d+-of-\d+\./) == nil
                }
                // Names go into messages: one that is no plain text is refused before it is shown raw.
                if let odd = names.first(where: { $0 != $0.printable(limit: 255) }) {
                    throw SwanError(
                        .invalidModel,
                        "\(folder): the name of a file in it is not plain text: \"\(odd.printable())\""
                    )
                }
                files += names.map { folder + "/" + $0 }
            } catch let error as SwanError {
                throw error
            } catch {
                throw SwanError(.noSuchModel, "\(folder): \(error.localizedDescription)")
            }
        }
        return files
    }
}
