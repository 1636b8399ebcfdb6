public import SwanSystem
public import Torch
public import TorchNN

/// The weights of a transformer with LoRAs added.
public struct LoRAWeights: WeightSource {
    private let base: any WeightSource
    private let loras: [LoRA]
    private let isLive: Bool
    /// For the key of a weight what each LoRA changes in it, in their order.
    private let differences: [String: [(lora: LoRA, difference: LoRA.Difference)]]

    /// Adds LoRAs to weights in Wan's names.
    ///
    /// - Parameter live: whether the low-rank products stay apart and are added by the layers at
    ///   every call. Their strengths can then be changed at any time. Otherwise they are merged into
    ///   the weights when these are loaded, in float32; plain differences always are.
    ///
    /// Throws `invalidWeights` listing the keys that fit no weight.
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

    /// The keys of the weights themselves.
    public var keys: [String] { base.keys }

    /// The shape under a key; nil if there is no such weight.
    public func shape(_ key: String) throws(SwanError) -> [Int]? { try base.shape(key) }

    /// The weight under a key, with what is merged into it; in float32 if anything is.
    public func tensor(_ key: String, _ shape: [Int]) throws(SwanError) -> Tensor {
        let weight = try base.tensor(key, shape)
        guard let merged = try merged(key, weight) else { return weight }
        return merged
    }

    /// The weight as it is stored; where something is merged into it, rounded to 16 bits as the base
    /// is, to bfloat16 if that is stored in fewer.
    public func stored(_ key: String, _ shape: [Int]) throws(SwanError) -> StoredWeight {
        let stored = try base.stored(key, shape)
        guard differences[key] != nil else { return stored }
        guard let merged = try merged(key, stored.weight(.float32)) else { return stored }
        let dtype = stored.values.dtype
        return StoredWeight(try merged.to(dtype.size > 1 ? dtype : .bfloat16))
    }

    /// The products that a layer adds to its own.
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

    /// W + s (alpha / rank) up down, and s times plain differences; nil where nothing is merged.
    private func merged(_ key: String, _ weight: Tensor) throws(SwanError) -> Tensor? {
        let changes = (differences[key] ?? []).filter { !isLive || $0.difference.plain != nil }
        guard !changes.isEmpty else { return nil }
        // Not in place: the base's numbers may be those of a mapped file.
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
