import SwanSystem
import Synchronization
import Torch
import TorchNN

/// Weights of another source, each checked for NaNs and infinities when it is read.
final class FiniteWeights: WeightSource {
    private let source: any WeightSource
    private let broken = Mutex<Set<String>>([])

    init(_ source: any WeightSource) { self.source = source }

    var keys: [String] { source.keys }

    func shape(_ key: String) throws(SwanError) -> [Int]? { try source.shape(key) }

    func tensor(_ key: String, _ shape: [Int]) throws(SwanError) -> Tensor {
        try checked(source.tensor(key, shape), key)
    }

    func stored(_ key: String, _ shape: [Int]) throws(SwanError) -> StoredWeight {
        let stored = try source.stored(key, shape)
        if try !stored.isAllFinite() { _ = broken.withLock { $0.insert(key) } }
        return stored
    }

    func additions(_ key: String) throws(SwanError) -> [LowRankAddition] {
        try source.additions(key)
    }

    private func checked(_ tensor: Tensor, _ key: String) throws(SwanError) -> Tensor {
        if try !Checkpoint.isFinite(tensor) { _ = broken.withLock { $0.insert(key) } }
        return tensor
    }

    /// Whether no weight that was read has a NaN or an infinity.
    var areFinite: Bool { broken.withLock { $0.isEmpty } }

    /// Throws one error that names the weights with a NaN or an infinity, of those read so far.
    func requireFinite(_ path: String) throws(SwanError) {
        try Checkpoint.requireNone(ofBroken: broken.withLock { $0 }.sorted(), in: path)
    }
}
