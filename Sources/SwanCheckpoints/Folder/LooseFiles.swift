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
        "diffusion_models", "unet", "text_encoders", "clip", "vae", "clip_vision", "checkpoints",
    ]

    /// The extensions of weight files.
    private static let endings: Set = ["safetensors", "sft", "gguf", "pth", "pt", "ckpt", "bin"]

    /// The folder of a model that is specified by its folder or by a file.
    static func folder(of path: String) -> String {
        FileIdentity(path)?.isFolder == true ? path : root(of: path)
    }

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
    ) throws(SwanError) -> (parts: [ModelFolder.Part: ModelFolder.Files], unreadable: [String]) {
        var parts = parts
        for (part, files) in parts where files.section == nil {
            parts[part] = sectioned(files, part)
        }
        let needed: [ModelFolder.Part] = [.transformer, .vae, .textEncoder]
        guard needed.contains(where: { parts[$0] == nil }) || Self.isLoose(parts[.transformer])
        else { return (parts, []) }
        let taken = Set(parts.values.map(\.data))
        var found: [CheckpointKind: [ModelFolder.Files]] = [:]
        var unreadable: [String] = []
        for file in try Self.files(under: folder) {
            do {
                for (kind, files) in try contents(of: file) {
                    found[kind, default: []].append(files)
                }
            } catch  where taken.contains(file) {
                // The error is thrown when the part is opened.
            } catch {
                let isNamed = error.message.hasPrefix(file)
                unreadable.append(isNamed ? error.message : "\(file): \(error.message)")
            }
        }
        try takeTransformers(found[.transformer, default: []], folder, &parts)
        for (part, kind) in [
            (ModelFolder.Part.vae, CheckpointKind.vae), (.textEncoder, .textEncoder),
            (.imageEncoder, .imageEncoder),
        ] where parts[part] == nil {
            for files in found[kind, default: []] where parts[part] == nil {
                let doesFit = part == .vae ? try fits(files, parts[.transformer]) : true
                if doesFit { parts[part] = files }
            }
        }
        return (parts, unreadable)
    }

    /// Adds the parts that a file contains besides a transformer, and the transformer's section.
    func take(
        _ file: String,
        into parts: inout [ModelFolder.Part: ModelFolder.Files]
    ) throws(SwanError) {
        let sections = try checkpoints.sections(file)
        guard sections.prefixes.count > 1 else { return }
        for part in ModelFolder.Part.allCases where parts[part] == nil {
            guard part != .lowNoiseTransformer, let kind = part.kind,
                let prefix = sections.section(of: kind)
            else { continue }
            parts[part] = ModelFolder.Files(data: file, section: prefix)
        }
    }

    /// The same files with the section of a part. An error in them is thrown when they are opened.
    private func sectioned(
        _ files: ModelFolder.Files,
        _ part: ModelFolder.Part
    ) -> ModelFolder.Files {
        guard let kind = part.kind, let sections = try? checkpoints.sections(files.data) else {
            return files
        }
        return ModelFolder.Files(
            data: files.data,
            config: files.config,
            section: sections.section(of: kind)
        )
    }

    /// The kinds of models in a file, with the sections that they are in.
    private func contents(
        of file: String
    ) throws(SwanError) -> [(CheckpointKind, ModelFolder.Files)] {
        let sections = try checkpoints.sections(file)
        let isWhole = sections.prefixes.allSatisfy { sections.section(of: $0.key) == nil }
        guard !isWhole else {
            return try checkpoints.open(file).kind.map { [($0, ModelFolder.Files(data: file))] }
                ?? []
        }
        var found: [(CheckpointKind, ModelFolder.Files)] = []
        for kind in CheckpointKind.allCases {
            guard let prefix = sections.section(of: kind) else { continue }
            let files = ModelFolder.Files(data: file, section: prefix)
            // The text encoders of other models have keys of the same ends.
            if try checkpoints.open(files).kind == kind { found.append((kind, files)) }
        }
        return found
    }

    private func takeTransformers(
        _ files: [ModelFolder.Files],
        _ folder: String,
        _ parts: inout [ModelFolder.Part: ModelFolder.Files]
    ) throws(SwanError) {
        func file(of noise: String) -> ModelFolder.Files? {
            files.first { Self.name($0.data).contains(noise) }
        }
        if let given = parts[.transformer] {
            // However the first of a pair was specified, the second is found by its name.
            for (own, other) in [("high_noise", "low_noise"), ("low_noise", "high_noise")]
            where parts[.lowNoiseTransformer] == nil && Self.name(given.data).contains(own) {
                let wanted = Self.name(given.data).replacingOccurrences(of: own, with: other)
                guard
                    let partner = files.first(where: { Self.name($0.data) == wanted })
                        ?? file(of: other)
                else { continue }
                let isHigh = own == "high_noise"
                parts[.transformer] = isHigh ? given : partner
                parts[.lowNoiseTransformer] = isHigh ? partner : given
            }
            return
        }
        if files.count == 2, let high = file(of: "high_noise"), let low = file(of: "low_noise") {
            parts[.transformer] = high
            parts[.lowNoiseTransformer] = low
            return
        }
        guard files.count <= 1 else {
            throw SwanError(
                .invalidModel,
                "\(folder) has \(files.count) transformers; specify one of the files as the model: "
                    + files.map(\.data).joined(separator: ", ")
            )
        }
        parts[.transformer] = files.first
    }

    /// Whether an autoencoder has as many latent channels as the transformer outputs.
    private func fits(
        _ vae: ModelFolder.Files,
        _ transformer: ModelFolder.Files?
    ) throws(SwanError) -> Bool {
        guard let transformer else { return true }
        do {
            let network = try WanConfig().fitted(
                to: checkpoints.open(transformer).inWanNames()
            )
            let autoencoder = try checkpoints.open(vae).inWanNames()
            return try autoencoder.shape("conv2.weight")?.first == network.outDim
        } catch {
            let isNamed = error.message.hasPrefix(vae.data)
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

    /// Whether a file is not a shard after the first, which stands for all of them.
    private static func isFirst(_ name: String) -> Bool {
        guard let shard = name.firstMatch(of: /-(\d+)-of-\d+\./) else { return true }
        return Int(shard.1) == 1
    }

    /// The weight files in the folder and in ComfyUI's subfolders, sorted by name.
    private static func files(under folder: String) throws(SwanError) -> [String] {
        var files: [String] = []
        for folder in [folder] + folders.map({ folder + "/" + $0 })
        where FileManager.default.fileExists(atPath: folder) {
            do {
                let all = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
                let names = all.filter { name in
                    endings.contains(URL(fileURLWithPath: name).pathExtension.lowercased())
                        && !name.hasPrefix(".") && Self.isFirst(name)
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
