package import Foundation
import Torch
import SwanSystem

/// The most recent checkpoints of one stage. Files are written atomically.
///
/// A file contains, for each trained role, `<role>/weights/<key>`, `<role>/averages/<key>`,
/// `<role>/first_moments/<key>` and `<role>/second_moments/<key>`, and `carry/<name>`. Its metadata
/// contains `step`, `stage`, `updates.<role>` for each trained role, and in `frozen` the names of
/// the frozen roles.
package struct Checkpoints {
    private let folder: URL
    private let stage: String
    private let kept: Int

    /// Opens the checkpoints of `stage` in a folder, which is created if it does not exist.
    package init(folder: URL, stage: String, kept: Int) throws {
        self.folder = folder.appending(path: stage)
        self.stage = stage
        self.kept = kept
        try FileManager.default.createDirectory(
            at: self.folder,
            withIntermediateDirectories: true
        )
    }

    /// Writes the state and removes the oldest checkpoints.
    func save(_ state: TrainingState, _ roles: [Role], metadata: [String: String]) throws {
        var tensors: [String: Tensor] = [:]
        var metadata = metadata
        for (role, network) in state.networks {
            for (index, key) in network.keys.enumerated() {
                tensors["\(role)/weights/\(key)"] = network.parameters[index]
                tensors["\(role)/averages/\(key)"] = network.optimizer.averages[index]
                tensors["\(role)/first_moments/\(key)"] = network.optimizer.firstMoments[index]
                tensors["\(role)/second_moments/\(key)"] = network.optimizer.secondMoments[index]
            }
            metadata["updates.\(role)"] = String(network.updates)
        }
        for (key, tensor) in state.carry { tensors["carry/\(key)"] = tensor }
        metadata["frozen"] = CheckpointRoles(roles).frozenText
        metadata["step"] = String(state.step)
        metadata["stage"] = stage
        try SummedFile.write(tensors, metadata: metadata, to: path(state.step))
        for step in try steps().dropLast(kept) {
            try FileManager.default.removeItem(atPath: path(step))
        }
    }

    /// Loads the newest complete checkpoint; returns nil if there are no checkpoints.
    ///
    /// A file truncated by a full disk or an interrupted copy is skipped in favor of an older one.
    /// It is an error if none of the files can be read, or if the contents of one have changed.
    func newest(_ roles: [Role], on device: Device = .cpu) throws -> TrainingState? {
        let steps = try steps()
        for (index, step) in steps.enumerated().reversed() {
            let remedy = remedy(older: steps[..<index])
            let file: SafetensorsFile
            do {
                file = try SummedFile.open(path(step), remedy: remedy)
            } catch let error as SwanError where error.code == .invalidFile {
                guard index == 0 else { continue }
                throw SwanError(.invalidData, "\(error.message); \(remedy)", cause: error)
            }
            return try state(file, step, CheckpointRoles(roles), device)
        }
        return nil
    }

    private func remedy(older: ArraySlice<Int>) -> String {
        guard let before = older.last else {
            return
                "there is no earlier checkpoint: remove it, and --resume restarts the stage '\(stage)'"
        }
        let name = URL(fileURLWithPath: path(before)).lastPathComponent
        return "remove it, and --resume continues from the previous one, \(name)"
    }

    private func state(
        _ file: SafetensorsFile,
        _ step: Int,
        _ roles: CheckpointRoles,
        _ device: Device
    ) throws -> TrainingState {
        guard file.metadata["step"] ?? String(step) == String(step),
            file.metadata["stage"] ?? stage == stage
        else {
            throw SwanError(
                .invalidData,
                "\(file.path): the file name does not match the step and stage of this checkpoint"
            )
        }
        let contents = CheckpointContents(file, device)
        // Checkpoints of older versions have no role prefix for their only network.
        if let role = roles.trained.first, roles.trained.count == 1, contents.hasNoRoles {
            let network = try contents.network("", updates: step)
            return TrainingState(step: step, [role: network], carry: try contents.carry())
        }
        let found = CheckpointRoles(file.metadata)
        guard found == roles else {
            throw SwanError(
                .invalidData,
                "\(file.path): has \(found), but the stage '\(stage)' has \(roles); start over in "
                    + "another folder"
            )
        }
        var networks: [String: TrainedNetwork] = [:]
        for role in roles.trained {
            let updates = file.metadata["updates.\(role)"].flatMap { Int($0) } ?? step
            networks[role] = try contents.network(role + "/", updates: updates)
        }
        return TrainingState(step: step, networks, carry: try contents.carry())
    }

    private func path(_ step: Int) -> String {
        let digits = String(step)
        let padded = String(repeating: "0", count: max(0, 8 - digits.count)) + digits
        return folder.appending(path: "step-\(padded).safetensors").path
    }

    /// The steps that have a checkpoint, in ascending order.
    private func steps() throws -> [Int] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path)
            .filter { $0.hasPrefix("step-") && $0.hasSuffix(".safetensors") }
            .compactMap { Int($0.dropFirst(5).dropLast(12)) }
            .sorted()
    }
}

/// The roles stored in a checkpoint.
private struct CheckpointRoles: Equatable, CustomStringConvertible {
    let trained, frozen: [String]

    init(_ roles: [Role]) {
        trained = roles.filter { $0.training != nil }.map(\.name).sorted()
        frozen = roles.filter { $0.training == nil }.map(\.name).sorted()
    }

    /// Reads the roles from a file's metadata.
    init(_ metadata: [String: String]) {
        trained = metadata.keys.filter { $0.hasPrefix("updates.") }
            .map { String($0.dropFirst("updates.".count)) }.sorted()
        frozen = metadata["frozen"]?.split(separator: " ").map(String.init) ?? []
    }

    /// The value of the `frozen` key; nil if there are no frozen roles.
    var frozenText: String? { frozen.isEmpty ? nil : frozen.joined(separator: " ") }

    var description: String {
        func list(_ names: [String]) -> String {
            names.isEmpty ? "none" : names.map { $0.printable() }.joined(separator: ", ")
        }
        return "trained networks \(list(trained)) and frozen networks \(list(frozen))"
    }
}

/// The tensors of a checkpoint.
private struct CheckpointContents {
    private let file: SafetensorsFile
    private let names: Set<String>
    private let device: Device

    init(_ file: SafetensorsFile, _ device: Device) {
        self.file = file
        names = Set(file.keys)
        self.device = device
    }

    /// Whether the checkpoint comes from a version without roles.
    var hasNoRoles: Bool {
        !file.metadata.keys.contains { $0.hasPrefix("updates.") }
            && names.contains { $0.hasPrefix("weights/") }
    }

    /// Loads the network whose tensor names start with `prefix`.
    func network(_ prefix: String, updates: Int) throws -> TrainedNetwork {
        let weights = prefix + "weights/"
        let keys = file.keys.filter { $0.hasPrefix(weights) }
            .map { String($0.dropFirst(weights.count)) }
        func group(_ name: String) throws(SwanError) -> [Tensor] {
            try keys.map { key throws(SwanError) in try tensor("\(prefix)\(name)/\(key)") }
        }
        let parameters = try group("weights")
        for parameter in parameters { try parameter.setRequiresGrad() }
        let secondMoments = try keys.map { key in
            let name = "\(prefix)second_moments/\(key)"
            return names.contains(name) ? try tensor(name) : nil
        }
        return TrainedNetwork(
            keys: keys,
            parameters: parameters,
            optimizer: Optimizer(
                firstMoments: try group("first_moments"),
                secondMoments: secondMoments,
                averages: try group("averages")
            ),
            updates: updates
        )
    }

    /// Loads the tensors that updates left for later ones.
    func carry() throws -> [String: Tensor] {
        var carry: [String: Tensor] = [:]
        for name in names where name.hasPrefix("carry/") {
            carry[String(name.dropFirst("carry/".count))] = try tensor(name)
        }
        return carry
    }

    /// Returns a copy, because training modifies it.
    private func tensor(_ name: String) throws(SwanError) -> Tensor {
        try file.tensor(name).cloned().to(device)
    }
}
