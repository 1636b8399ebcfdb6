import Foundation
import SwanSystem
import SwanTraining
import Torch

/// `checkpoint_model_<step>/model.pt`: the weights of a distillation as the references save them,
/// for `torch.load(weights_only=True)` and `generator_ckpt`.
///
/// The file has the dictionaries `generator` and `critic`, and `generator_ema` once an average is
/// kept; keys begin with `model.`, as those of the references' wrapper of a network. Folders of older
/// checkpoints are removed, as those checkpoints are.
struct ModelArchive: Sendable {
    /// The dictionaries of the file.
    enum Group: String {
        case generator, critic, average = "generator_ema"
    }

    static let name = "model.pt"
    private static let folderPrefix = "checkpoint_model_"
    /// What the references' wrapper puts before a network's keys.
    private static let keyPrefix = "model."

    let folder: URL
    /// The number of files to keep.
    let kept: Int

    /// The export of a distillation's checkpoints.
    func export(_ settings: DistillationSettings) -> WeightExport {
        let roles = (DistributionMatching.generator, DistributionMatching.critic)
        let hasCritic = settings.loss != .ode
        let averageStart = settings.averageDecay.map { _ in settings.averageStart }
        return WeightExport { step in
            var parts = [WeightExport.Part(Group.generator.rawValue, of: roles.0, .weights)]
            if hasCritic { parts.append(.init(Group.critic.rawValue, of: roles.1, .weights)) }
            if let averageStart, step > averageStart {
                parts.append(.init(Group.average.rawValue, of: roles.0, .averages))
            }
            return parts
        } write: { step, weights in
            try write(weights, after: step)
        }
    }

    private func write(_ weights: [String: [String: Tensor]], after step: Int) throws {
        let groups = weights.mapValues { tensors in
            Dictionary(uniqueKeysWithValues: tensors.map { (Self.keyPrefix + $0.key, $0.value) })
        }
        let path = folder.appending(path: Self.name(of: step))
        do {
            try FileManager.default.createDirectory(at: path, withIntermediateDirectories: true)
            try TorchArchive.write(groups: groups, to: path.appending(path: Self.name).path)
            try removeOlder(than: step)
        } catch let error as CocoaError {
            throw SwanError(writing: error.filePath ?? path.path, error)
        }
    }

    /// Removes all but the newest files up to a step, and their folders if nothing else is in them.
    private func removeOlder(than step: Int) throws {
        let steps = Folder.names(in: folder.path).compactMap { name in
            name.hasPrefix(Self.folderPrefix) ? Int(name.dropFirst(Self.folderPrefix.count)) : nil
        }
        for old in steps.filter({ $0 <= step }).sorted().dropLast(kept) {
            let path = folder.appending(path: Self.name(of: old)).path
            let file = path + "/" + Self.name
            guard FileManager.default.fileExists(atPath: file) else { continue }
            try FileManager.default.removeItem(atPath: file)
            if Folder.names(in: path).isEmpty { try FileManager.default.removeItem(atPath: path) }
        }
    }

    private static func name(of step: Int) -> String {
        let digits = String(step)
        return folderPrefix + String(repeating: "0", count: max(0, 6 - digits.count)) + digits
    }

    // MARK: - Reading

    /// Throws unless a file of `torch.save` has a dictionary under a name.
    static func requireGroup(_ name: String, in path: String) throws(SwanError) {
        guard try TorchArchive.isArchive(path) else {
            throw SwanError(
                .invalidRecipe,
                "generator_ckpt_key: \(path) is not a file of torch.save, so it has no "
                    + "'\(name.printable())'; remove the key"
            )
        }
        let archive = try TorchArchive(path: path)
        guard archive.tensors(at: [name]).isEmpty else { return }
        let found = (archive.dictionary() ?? [:]).keys.sorted().filter {
            !archive.tensors(at: [$0]).isEmpty
        }
        let others =
            found.isEmpty
            ? "none" : found.prefix(20).map { $0.printable() }.joined(separator: ", ")
        throw SwanError(
            .invalidRecipe,
            "generator_ckpt_key: \(path) has no weights under '\(name.printable())'; it has: \(others)"
        )
    }
}
