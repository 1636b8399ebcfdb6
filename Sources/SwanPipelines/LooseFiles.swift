import Foundation
import SwanModels
import TorchNN

/// Weights in single files of any name, as ComfyUI keeps them: what one is, its keys tell.
enum LooseFiles {
    /// Folders in which ComfyUI looks for each kind of model.
    private static let folders = [
        "diffusion_models", "unet", "text_encoders", "clip", "vae", "clip_vision",
    ]

    /// The folder that has the other parts of a transformer's file: ComfyUI keeps them side by side.
    static func root(of file: String) -> String {
        let folder = URL(fileURLWithPath: file).deletingLastPathComponent()
        let isShelf = folders.contains(folder.lastPathComponent)
        return (isShelf ? folder.deletingLastPathComponent() : folder).path
    }

    /// The parts with those that single files in the folder hold.
    ///
    /// Two transformers are an error unless one is for high and one for low noise by its name. Of
    /// several files for another part, the first by name that fits the transformer is taken.
    static func completing(
        _ parts: [ModelFolder.Part: ModelFolder.Files],
        under folder: String
    ) throws(SwanError) -> [ModelFolder.Part: ModelFolder.Files] {
        let needed: [ModelFolder.Part] = [.transformer, .vae, .textEncoder]
        guard needed.contains(where: { parts[$0] == nil }) || isLoose(parts[.transformer]) else {
            return parts
        }
        var found: [CheckpointKind: [String]] = [:]
        for file in files(under: folder) {
            // What cannot be read is no part; a part that is missing is reported by its name.
            guard case .success(let checkpoint) = opened(file), let kind = checkpoint.kind else {
                continue
            }
            found[kind, default: []].append(file)
        }
        var parts = parts
        try takeTransformers(found[.transformer, default: []], folder, &parts)
        for (part, kind) in [
            (ModelFolder.Part.vae, CheckpointKind.vae), (.textEncoder, .textEncoder),
            (.imageEncoder, .imageEncoder),
        ] where parts[part] == nil {
            let files = found[kind, default: []]
            let fitting = part == .vae ? files.first { fits($0, parts[.transformer]) } : nil
            parts[part] = (fitting ?? files.first).map { ModelFolder.Files(data: $0) }
        }
        if parts[.tokenizer] == nil, let text = parts[.textEncoder]?.data,
            case .success(let checkpoint) = opened(text), checkpoint.keys.contains("spiece_model")
        {
            parts[.tokenizer] = ModelFolder.Files(data: text)
        }
        return parts
    }

    private static func takeTransformers(
        _ files: [String],
        _ folder: String,
        _ parts: inout [ModelFolder.Part: ModelFolder.Files]
    ) throws(SwanError) {
        func file(of noise: String) -> String? { files.first { name($0).contains(noise) } }
        if let given = parts[.transformer]?.data {
            // A file for high noise has one for low noise beside it, or it is no pair.
            if parts[.lowNoiseTransformer] == nil, name(given).contains("high_noise") {
                let other = name(given).replacingOccurrences(of: "high_noise", with: "low_noise")
                let low = files.first { name($0) == other } ?? file(of: "low_noise")
                parts[.lowNoiseTransformer] = low.map { ModelFolder.Files(data: $0) }
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
    private static func fits(_ vae: String, _ transformer: ModelFolder.Files?) -> Bool {
        guard let transformer, case .success(let network) = opened(transformer.data),
            case .success(let autoencoder) = opened(vae)
        else { return true }
        let head = (try? network.inWanNames().shape("head.head.weight"))?.first
        let channels = (try? autoencoder.inWanNames().shape("conv2.weight"))?.first
        return head == channels.map { 4 * $0 }
    }

    /// Whether a part is a file of no fixed name.
    private static func isLoose(_ files: ModelFolder.Files?) -> Bool {
        files.map { $0.config == nil && !name($0.data).hasPrefix("model.pt") } ?? true
    }

    private static func name(_ path: String) -> String {
        URL(fileURLWithPath: path).lastPathComponent.lowercased()
    }

    private static func opened(_ path: String) -> Result<Checkpoint, any Error> {
        Result { try Checkpoint.open(path) }
    }

    /// Files of weights in the folder and in ComfyUI's folders under it, by name. A shard is no file
    /// of its own: it says nothing of what the others hold.
    private static func files(under folder: String) -> [String] {
        ([folder] + folders.map { folder + "/" + $0 }).flatMap { folder in
            let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
            return names.sorted().filter { name in
                [".safetensors", ".pth", ".pt"].contains { name.hasSuffix($0) }
                    && name.firstMatch(of: /-\d+-of-\d+\./) == nil
            }.map { folder + "/" + $0 }
        }
    }
}
