public import SwanSystem
public import Torch
public import TorchNN

/// The weights of a transformer with LoRAs applied.
public struct LoRAWeights: WeightSource {
    private let base: any WeightSource
    private let loras: [LoRA]
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
    ///     in float32 when these are loaded. Full differences are always merged.
    /// - Throws: `invalidWeights`, listing the keys that match no weight.
    public init(
        _ base: any WeightSource,
        _ loras: [LoRA],
        live: Bool = false
    ) throws(SwanError) {
        self.base = base
        self.loras = loras
        isLive = live
        var all: [String: [(LoRA, LoRA.Difference)]] = [:]
        for lora in loras {
            for (key, difference) in try lora.differences(for: base) {
                all[key, default: []].append((lora, difference))
            }
        }
        differences = all
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
            guard let (down, up, factor) = difference.product else { continue }
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

    /// W + s (alpha / rank) up down, plus s times the full differences; nil if nothing is merged.
    private func merged(_ key: String, _ weight: Tensor) throws(SwanError) -> Tensor? {
        let changes = (differences[key] ?? []).filter { !isLive || $0.difference.plain != nil }
        guard !changes.isEmpty else { return nil }
        // Not in place: the base's values may be those of a mapped file.
        var sum = try weight.to(.float32).cloned()
        for (lora, difference) in changes {
            let strength = lora.strength.value
            if let (down, up, factor) = difference.product, !isLive {
                let product = try matmul(
                    lora.tensor(up).flattened(from: 1),
                    lora.tensor(down).flattened(from: 1)
                )
                try sum.add(product.reshaped(weight.shape), scaledBy: strength * factor)
            }
            if let (plain, factor) = difference.plain {
                try sum.add(lora.tensor(plain), scaledBy: strength * factor)
            }
        }
        return sum
    }
}
