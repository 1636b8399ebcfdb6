public import SwanSystem
public import Torch
public import TorchNN

/// The weights of a transformer with LoRAs applied.
public struct LoRAWeights: WeightSource {
    /// Messages about keys of LoRAs that have no place in the model and were left out.
    public let notes: [String]
    private let base: any WeightSource
    private let isLive: Bool
    /// For the key of each weight, the changes that the LoRAs make to it, in order.
    private let differences: [String: [(lora: LoRA, difference: LoRA.Difference)]]

    /// Applies LoRAs to weights in Wan's names.
    ///
    /// - Parameters:
    ///   - base: The weights.
    ///   - loras: The LoRAs to apply, in order.
    ///   - live: Whether the low-rank products are kept separate and added by the layers on every call,
    ///     so that their strengths can be changed at any time. Otherwise they are merged into the weights
    ///     in float32 when these are loaded. All other changes are always merged.
    ///   - isStrict: Whether a key of a LoRA that has no place in the model is an error.
    /// - Throws: `invalidWeights`, listing the keys that do not fit.
    public init(
        _ base: any WeightSource,
        _ loras: [LoRA],
        live: Bool = false,
        isStrict: Bool = false
    ) throws(SwanError) {
        self.base = base
        isLive = live
        var all: [String: [(LoRA, LoRA.Difference)]] = [:]
        var notes: [String] = []
        for lora in loras {
            let match = try lora.match(base, isStrict: isStrict)
            if let note = match.note { notes.append(note) }
            for (key, difference) in match.differences {
                all[key, default: []].append((lora, difference))
            }
        }
        differences = all
        self.notes = notes
    }

    /// The keys of the base weights.
    public var keys: [String] { base.keys }

    /// Returns the shape of the weight at a key; nil if there is no such weight.
    public func shape(_ key: String) throws(SwanError) -> [Int]? { try base.shape(key) }

    /// Returns the weight at a key, with the changes merged in; in float32 if there are any.
    public func tensor(_ key: String, _ shape: [Int]) throws(SwanError) -> Tensor {
        let weight = try base.tensor(key, shape)
        guard let merged = try merged(key, weight) else { return weight }
        return merged
    }

    /// Returns the weight in its stored dtype, with the changes merged in. A merged weight is rounded to the
    /// dtype of the base, or to bfloat16 if the base is stored in fewer than 16 bits.
    public func stored(_ key: String, _ shape: [Int]) throws(SwanError) -> StoredWeight {
        let stored = try base.stored(key, shape)
        guard differences[key] != nil else { return stored }
        guard let merged = try merged(key, stored.weight(.float32)) else { return stored }
        let dtype = stored.values.dtype
        return StoredWeight(try merged.to(dtype.size > 1 ? dtype : .bfloat16))
    }

    /// Returns the low-rank products that a layer adds to its output.
    public func additions(_ key: String) throws(SwanError) -> [LowRankAddition] {
        guard isLive, let changes = differences[key] else { return try base.additions(key) }
        var additions = try base.additions(key)
        for (lora, difference) in changes {
            guard let (down, up, factor) = difference.addition else { continue }
            additions.append(
                LowRankAddition(
                    down: try lora.tensor(down).flattened(from: 1),
                    up: try lora.tensor(up).flattened(from: 1),
                    factor: factor,
                    strength: lora.strength
                )
            )
        }
        return additions
    }

    /// The weight with all changes that are not added by the layers; nil if there are none.
    private func merged(_ key: String, _ weight: Tensor) throws(SwanError) -> Tensor? {
        let changes = (differences[key] ?? []).map { lora, difference in
            var difference = difference
            if isLive, difference.addition != nil { difference.delta = nil }
            return (lora: lora, difference: difference)
        }.filter { !$0.difference.isEmpty }
        guard !changes.isEmpty else { return nil }
        // Not in place: the base's values may be those of a mapped file.
        var sum = try weight.to(.float32).cloned()
        for (lora, difference) in changes { try difference.merge(into: &sum, lora) }
        return sum
    }
}

extension LoRA.Difference {
    fileprivate var isEmpty: Bool { delta == nil && plain == nil && replacement == nil }

    /// Merges the changes, times the LoRA's strength s, into a weight: W + s ΔW.
    ///
    /// With DoRA's norms m the changed weight is m (W + ΔW) / ‖W + ΔW‖ (https://arxiv.org/abs/2402.09353,
    /// equation 5), and s goes from W to it.
    fileprivate func merge(into weight: inout Tensor, _ lora: LoRA) throws(SwanError) {
        let strength = lora.strength.value
        if let replacement {
            try weight.interpolate(to: lora.tensor(replacement), weight: strength)
        }
        if let (change, factor) = delta {
            let matrix = try change.matrix(of: lora).reshaped(weight.shape)
            if let (key, axis) = norms {
                let changed = try weight + matrix * factor
                let others = weight.shape.indices.filter { $0 != axis }
                let norm = try changed.norm(others, keepDim: true).clamped(min: 1e-12)
                let scale = try lora.tensor(key).reshaped(norm.shape) / norm
                try weight.interpolate(to: changed * scale, weight: strength)
            } else {
                try weight.add(matrix, scaledBy: strength * factor)
            }
        }
        if let (key, factor) = plain {
            try weight.add(lora.tensor(key), scaledBy: strength * factor)
        }
    }
}
