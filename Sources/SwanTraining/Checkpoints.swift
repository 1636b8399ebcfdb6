import Foundation
import Torch

/// All that a stage of training needs to go on.
struct TrainingState {
    /// Steps done.
    var step: Int
    /// The names of the parameters, in the order of all arrays.
    let keys: [String]
    /// The weights, leaves that gradients are taken for.
    let parameters: [Tensor]
    /// The optimizer with its moments and averages.
    let optimizer: Optimizer
    /// What the last step left for the next.
    var carry: [String: Tensor]

    /// The start of a stage.
    ///
    /// - Parameter learnsByMuon: says of a key and its weight's shape whether Muon changes it.
    init(
        _ weights: [String: Tensor],
        on device: Device = .cpu,
        learnsByMuon: (String, [Int]) -> Bool = { _, _ in false }
    ) throws(TorchError) {
        let keys = weights.keys.sorted()
        var parameters: [Tensor] = []
        for key in keys {
            guard let weight = weights[key] else { continue }
            let parameter = try weight.detached().to(device, .float32).contiguous().cloned()
            try parameter.setRequiresGrad()
            parameters.append(parameter)
        }
        let muon = keys.indices.filter { learnsByMuon(keys[$0], parameters[$0].shape) }
        self.keys = keys
        self.parameters = parameters
        optimizer = try Optimizer(for: parameters, muon: Set(muon))
        step = 0
        carry = [:]
    }

    fileprivate init(
        step: Int,
        keys: [String],
        parameters: [Tensor],
        optimizer: Optimizer,
        carry: [String: Tensor]
    ) {
        self.step = step
        self.keys = keys
        self.parameters = parameters
        self.optimizer = optimizer
        self.carry = carry
    }

    /// The weights under their keys.
    var weights: [String: Tensor] {
        Dictionary(uniqueKeysWithValues: zip(keys, parameters))
    }

    /// The moving average of the weights under their keys.
    var averages: [String: Tensor] {
        Dictionary(uniqueKeysWithValues: zip(keys, optimizer.averages))
    }
}

/// The checkpoints of one stage: files that are there whole or not at all, the newest few.
struct Checkpoints {
    private let folder: URL
    private let stage: String
    private let kept: Int

    /// The checkpoints of `stage` under a folder, which is made if it is not there.
    init(folder: URL, stage: String, kept: Int) throws {
        self.folder = folder.appending(path: stage)
        self.stage = stage
        self.kept = kept
        try FileManager.default.createDirectory(
            at: self.folder,
            withIntermediateDirectories: true
        )
    }

    /// Writes the state beside the others and removes the oldest.
    func save(_ state: TrainingState, metadata: [String: String]) throws {
        var tensors: [String: Tensor] = [:]
        for (index, key) in state.keys.enumerated() {
            tensors["weights/" + key] = state.parameters[index]
            tensors["averages/" + key] = state.optimizer.averages[index]
            tensors["first_moments/" + key] = state.optimizer.firstMoments[index]
            tensors["second_moments/" + key] = state.optimizer.secondMoments[index]
        }
        for (key, tensor) in state.carry { tensors["carry/" + key] = tensor }
        var metadata = metadata
        metadata["step"] = String(state.step)
        metadata["stage"] = stage
        try SummedFile.write(tensors, metadata: metadata, to: path(state.step))
        for step in try steps().dropLast(kept) {
            try FileManager.default.removeItem(atPath: path(step))
        }
    }

    /// The newest checkpoint that is whole; nil if there is none.
    ///
    /// A file that a full disk or a copy cut short is passed over for an older one; where no file can be
    /// read, or the contents of one have changed, that is an error.
    func newest(on device: Device = .cpu) throws -> TrainingState? {
        let steps = try steps()
        for (index, step) in steps.enumerated().reversed() {
            let remedy = remedy(older: steps[..<index])
            let file: SafetensorsFile
            do {
                file = try SummedFile.open(path(step), remedy: remedy)
            } catch let error as TorchError where error.code == .invalidFile {
                guard index == 0 else { continue }
                throw TrainingError(.invalidData, "\(error.message); \(remedy)")
            }
            return try state(file, step, device)
        }
        return nil
    }

    private func remedy(older: ArraySlice<Int>) -> String {
        guard let before = older.last else {
            return
                "there is none before it: remove it, and --resume begins the stage '\(stage)' again"
        }
        let name = URL(fileURLWithPath: path(before)).lastPathComponent
        return "remove it, and --resume goes on from the one before, \(name)"
    }

    private func state(
        _ file: SafetensorsFile,
        _ step: Int,
        _ device: Device
    ) throws -> TrainingState {
        guard file.metadata["step"] ?? String(step) == String(step),
            file.metadata["stage"] ?? stage == stage
        else {
            throw TrainingError(
                .invalidData,
                "\(file.path): a checkpoint of another step or stage, under a name that is not its own"
            )
        }
        let keys = file.keys.compactMap { key in
            key.hasPrefix("weights/") ? String(key.dropFirst("weights/".count)) : nil
        }
        let names = Set(file.keys)
        // Copies: training writes to them.
        func tensor(_ name: String) throws(TorchError) -> Tensor {
            try file.tensor(name).cloned().to(device)
        }
        func group(_ name: String) throws(TorchError) -> [Tensor] {
            try keys.map { key throws(TorchError) in try tensor("\(name)/\(key)") }
        }
        let secondMoments = try keys.map { key in
            let name = "second_moments/\(key)"
            return names.contains(name) ? try tensor(name) : nil
        }
        var carry: [String: Tensor] = [:]
        for name in names where name.hasPrefix("carry/") {
            carry[String(name.dropFirst("carry/".count))] = try tensor(name)
        }
        let parameters = try group("weights")
        for parameter in parameters { try parameter.setRequiresGrad() }
        return try TrainingState(
            step: step,
            keys: keys,
            parameters: parameters,
            optimizer: Optimizer(
                firstMoments: group("first_moments"),
                secondMoments: secondMoments,
                averages: group("averages")
            ),
            carry: carry
        )
    }

    private func path(_ step: Int) -> String {
        let digits = String(step)
        let padded = String(repeating: "0", count: max(0, 8 - digits.count)) + digits
        return folder.appending(path: "step-\(padded).safetensors").path
    }

    /// The steps that there are files of, ascending.
    private func steps() throws -> [Int] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path)
            .filter { $0.hasPrefix("step-") && $0.hasSuffix(".safetensors") }
            .compactMap { Int($0.dropFirst(5).dropLast(12)) }
            .sorted()
    }
}
