import Foundation
import SwanDistributed
import SwanSystem
import SwanTraining
import Torch

/// Tensors on disk, one a file, that take long to make: encoded prompts, a teacher's pictures.
///
/// A file says what it was made of; one that says something else is stale, and made again.
struct TensorCache: Sendable {
    private static let key = "tensor"
    /// How many are made together. Which ones does not depend on what is there, so that a run
    /// which was interrupted makes the same bits.
    private static let together = 16

    private let folder: String
    /// What all files are made of: models and settings.
    private let stamp: String

    /// Creates the cache in a folder, which is made when something is written.
    init(_ folder: String, stamp: String) { (self.folder, self.stamp) = (folder, stamp) }

    private func path(_ name: String) -> String {
        "\(folder)/\(String(format: "%016lx", Seed.named(name))).safetensors"
    }

    private enum State { case current, stale, missing }

    private func state(_ name: String) -> State {
        guard FileManager.default.fileExists(atPath: path(name)) else { return .missing }
        guard let file = try? SafetensorsFile(path: path(name)),
            file.metadata["name"] == name, file.metadata["stamp"] == stamp
        else { return .stale }
        return .current
    }

    /// Reads a tensor that `fill` has made.
    func read(_ name: String) throws(SwanError) -> Tensor {
        let file = try SafetensorsFile(path: path(name))
        guard file.metadata["name"] == name, file.metadata["stamp"] == stamp else {
            throw SwanError(
                .invalidData,
                "\(path(name)): was changed by another run; give each its own cache_path"
            )
        }
        return try file.tensor(Self.key).cloned()
    }

    private func write(_ tensor: Tensor, _ name: String) throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try Safetensors.write(
            [Self.key: tensor.to(.cpu).contiguous()],
            metadata: ["name": name, "stamp": stamp],
            to: path(name)
        )
    }

    /// Who makes what is missing.
    enum Makers {
        /// This process, or the first of some ranks.
        case first(TrainingRanks?)
        /// Each rank a share.
        case each(TrainingRanks, rank: Int, size: Int)
        /// All ranks together, since each has a part of the model; the first one writes.
        case all(TrainingRanks, ProcessGroup)
    }

    /// Makes tensors that are missing or stale.
    ///
    /// - Parameters:
    ///   - make: Makes the tensors of some names.
    ///   - progress: Called with how many are there, how many there will be, and how many of them
    ///     were stale.
    func fill(
        _ names: [String],
        _ makers: Makers,
        progress: (_ done: Int, _ of: Int, _ stale: Int) -> Void,
        make: ([String]) throws -> [Tensor]
    ) throws {
        let groups = stride(from: 0, to: names.count, by: Self.together).map { first in
            Array(names[first..<min(first + Self.together, names.count)])
        }
        switch makers {
        case .first(let ranks):
            guard let ranks else { return try fill(groups, progress, make) }
            _ = try ranks.alone { try fill(groups, progress, make) }
        case .each(let ranks, let rank, let size):
            // Ranks meet after each group: an operation of ranks has a deadline.
            for first in stride(from: 0, to: groups.count, by: size) {
                if first + rank < groups.count {
                    try fill([groups[first + rank]], progress, make)
                }
                try ranks.meet()
            }
        case .all(let ranks, let group):
            // The first rank decides which ones are missing.
            let flags = try Tensor(
                groups.map { isCurrent($0) ? Float(0) : 1 },
                [groups.count]
            ).to(group.device)
            try group.broadcast(flags, from: 0)
            for (names, flag) in zip(groups, try flags.to(.cpu).array(of: Float.self))
            where flag > 0 {
                let made = try make(names)
                if ranks.isFirst { try write(made, names) }
            }
            try ranks.meet()
        }
    }

    private func isCurrent(_ names: [String]) -> Bool {
        names.allSatisfy { state($0) == .current }
    }

    private func write(_ tensors: [Tensor], _ names: [String]) throws {
        for (name, tensor) in zip(names, tensors) { try write(tensor, name) }
    }

    private func fill(
        _ groups: [[String]],
        _ progress: (Int, Int, Int) -> Void,
        _ make: ([String]) throws -> [Tensor]
    ) throws {
        let states = groups.map { $0.map(state) }
        let count = groups.reduce(0) { $0 + $1.count }
        let stale = states.joined().count { $0 == .stale }
        var done = zip(groups, states).reduce(0) { sum, group in
            sum + (group.1.allSatisfy { $0 == .current } ? group.0.count : 0)
        }
        guard done < count else { return }
        for (names, states) in zip(groups, states) where !states.allSatisfy({ $0 == .current }) {
            try write(make(names), names)
            done += names.count
            progress(done, count, stale)
        }
    }
}

extension TrainingRanks {
    /// Waits until all ranks have come here.
    fileprivate func meet() throws(SwanError) {
        try requireSame("the work", "done", remedy: "report this as a bug")
    }
}
