public import Torch
public import SwanSystem

/// The weights of another source under different names.
public struct RenamedWeights: WeightSource {
    private let source: any WeightSource
    private let originals: [String: String]

    /// Renames every key; keys for which `rename` returns nil are omitted.
    public init(
        _ source: any WeightSource,
        _ rename: (String) -> String?
    ) throws(SwanError) {
        self.source = source
        var originals: [String: String] = [:]
        for key in source.keys {
            guard let name = rename(key) else { continue }
            if let other = originals.updateValue(key, forKey: name) {
                throw SwanError(
                    .invalidWeights,
                    "the weights \(other) and \(key) are both named \(name)"
                )
            }
        }
        self.originals = originals
    }

    /// The new names.
    public var keys: [String] { Array(originals.keys) }

    /// The shape of the tensor under a key; nil if there is no such key.
    public func shape(_ key: String) throws(SwanError) -> [Int]? {
        guard let original = originals[key] else { return nil }
        return try source.shape(original)
    }

    /// The tensor under a key.
    public func tensor(_ key: String, _ shape: [Int]) throws(SwanError) -> Tensor {
        try source.tensor(original(key), shape)
    }

    /// The tensor under a key as stored in its file.
    public func stored(_ key: String, _ shape: [Int]) throws(SwanError) -> StoredWeight {
        try source.stored(original(key), shape)
    }

    /// The low-rank additions to the product with the matrix under a key.
    public func additions(_ key: String) throws(SwanError) -> [LowRankAddition] {
        guard let original = originals[key] else { return [] }
        return try source.additions(original)
    }

    private func original(_ key: String) throws(SwanError) -> String {
        guard let original = originals[key] else {
            throw SwanError(.invalidWeights, "there is no weight \(key)")
        }
        return original
    }
}
