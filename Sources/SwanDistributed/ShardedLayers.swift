package import SwanSystem
package import Torch
package import TorchNN

/// Weights for inference: each rank of a group keeps a part of each block, which is whole only while
/// it runs, and all of the rest.
///
/// ZeRO, https://arxiv.org/abs/1910.02054, stage 3. With `Weights(readsLayersLate: true)` a block is
/// gathered in one exchange while the previous one runs, so at most two are whole. All ranks run the
/// same blocks in the same order. `ShardedWeights` is for training: its parts are of single weights,
/// which optimizers update and gradients belong to, and it copies what it has gathered.
package struct ShardedLayers: WeightSource {
    private let base: any WeightSource
    private let group: ProcessGroup
    private let device: Device
    private let layers: [String: LayerShard]
    /// The path and the bytes of a layer that was gathered.
    private var gathered: (path: String, whole: Tensor)?

    /// Reads this rank's parts, one block after the other.
    ///
    /// - Parameters:
    ///   - base: All weights, with Wan's names; all ranks have the same. Low-rank additions and what
    ///     is of no block are read from it as they are.
    ///   - dtype: The dtype of the computation.
    ///   - device: Where the parts are kept: the group's device.
    package init(
        of base: any WeightSource,
        _ group: ProcessGroup,
        as dtype: DType,
        on device: Device
    ) throws(SwanError) {
        var keys: [String: [String]] = [:]
        for key in base.keys {
            guard let path = Self.layer(of: key) else { continue }
            keys[path, default: []].append(key)
        }
        var layers: [String: LayerShard] = [:]
        for (path, keys) in keys.sorted(by: { $0.key < $1.key }) {
            layers[path] = try LayerShard(keys, of: base, group, as: dtype, on: device)
        }
        (self.base, self.group, self.device, self.layers) = (base, group, device, layers)
    }

    /// The path of the block that a weight belongs to; nil for weights of no block, and for those
    /// that are used outside of their block.
    private static func layer(of key: String) -> String? {
        let steps = key.split(separator: ".", maxSplits: 3)
        guard steps.count > 2, ["blocks", "vace_blocks"].contains(steps[0]),
            Int(steps[1]) != nil, steps[2] != "before_proj"
        else { return nil }
        return "\(steps[0]).\(steps[1])"
    }

    /// The bytes of this rank's parts of blocks.
    package var byteCount: Int { layers.values.reduce(0) { $0 + $1.part.byteCount } }

    /// All keys.
    package var keys: [String] { base.keys }

    /// The shape of the whole weight under a key; nil if there is no such key.
    package func shape(_ key: String) throws(SwanError) -> [Int]? { try base.shape(key) }

    /// The whole weight under a key; if it is of a block, all ranks ask for it.
    package func tensor(_ key: String, _ shape: [Int]) throws(SwanError) -> Tensor {
        guard let weight = try shared(key) else { return try base.tensor(key, shape) }
        let isPlain = weight.factor == nil && weight.packing == nil
        return isPlain ? weight.values : try weight.weight(.float32)
    }

    /// The same; parts are kept in the dtype that they are used in.
    package func tensor(
        _ key: String,
        _ shape: [Int],
        for dtype: DType
    ) throws(SwanError) -> Tensor {
        guard Self.layer(of: key) == nil else { return try tensor(key, shape) }
        return try base.tensor(key, shape, for: dtype)
    }

    /// The whole weight as stored.
    package func stored(_ key: String, _ shape: [Int]) throws(SwanError) -> StoredWeight {
        if let weight = try shared(key) { return weight }
        return try base.stored(key, shape)
    }

    /// A weight that is in parts; nil for others.
    private func shared(_ key: String) throws(SwanError) -> StoredWeight? {
        guard let path = Self.layer(of: key), let layer = layers[path] else { return nil }
        if let gathered, gathered.path == path {
            return try layer.weight(key, in: gathered.whole)
        }
        let (whole, work) = try group.startUnsharding(layer.part)
        try work.wait()
        return try layer.weight(key, in: whole)
    }

    /// The low-rank additions to the matrix under a key, whole on each rank.
    package func additions(_ key: String) throws(SwanError) -> [LowRankAddition] {
        try base.additions(key)
    }

    /// The weights of a block, gathered in one exchange.
    package func together(
        _ path: String,
        for dtype: DType
    ) throws(SwanError) -> any WeightSource {
        guard let wait = try started(path, for: dtype) else { return self }
        return try wait()
    }

    /// Starts to gather the weights of a block.
    package func started(_ path: String, for dtype: DType) throws(SwanError) -> StartedWeights? {
        guard let layer = layers[path] else { return nil }
        let (whole, work) = try group.startUnsharding(layer.part)
        return { () throws(SwanError) in
            try work.wait()
            var read = self
            read.gathered = (path, whole)
            return read
        }
    }

    /// The keys and shapes of blocks, without exchanging anything.
    package var outline: any WeightSource {
        let shapes = layers.values.reduce(into: [:]) { all, layer in
            all.merge(layer.shapes) { first, _ in first }
        }
        return Outline(shapes: shapes, device: device)
    }
}
