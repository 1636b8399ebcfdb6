package import SwanSystem
package import Torch
package import TorchNN

/// The equal, flat parts of a tensor that the ranks of a group keep.
///
/// Part r has elements r n ..< (r + 1) n of the tensor in row-major order, with zeros after its
/// end; n is the same for all ranks.
package enum Shard {
    /// Parts begin at multiples of this number of elements, which vector instructions take together:
    /// an optimizer then computes each element as it would in the whole tensor, to the bit.
    package static let alignment = 64

    /// The number of elements n of each part.
    package static func length(_ count: Int, among parts: Int) -> Int {
        let unit = parts * alignment
        return (count + unit - 1) / unit * alignment
    }

    /// The elements of part `rank` without the zeros after them; may be empty.
    package static func range(_ count: Int, of rank: Int, among parts: Int) -> Range<Int> {
        let length = length(count, among: parts)
        return min(count, rank * length)..<min(count, (rank + 1) * length)
    }

    /// A copy of one part of a tensor: [n].
    package static func part(
        of whole: Tensor,
        _ rank: Int,
        among parts: Int
    ) throws(SwanError) -> Tensor {
        let range = range(whole.count, of: rank, among: parts)
        let padding = length(whole.count, among: parts) - range.count
        let own = try whole.detached().reshaped([-1]).narrowed(0, range.lowerBound, range.count)
        return padding > 0 ? try own.padded([0, padding]) : try own.cloned()
    }
}

/// Weights of which each rank of a group keeps a part, and which are whole only while they are used.
///
/// ZeRO, https://arxiv.org/abs/1910.02054, stage 3. Reading a weight gathers it from all ranks, so
/// they read the same weights in the same order. With `Weights(readsLayersLate: true)` a layer is
/// gathered at once, and whole while it runs. Where gradients are recorded, that of a part is its sum over ranks in
/// float32; layers are then read in regions that are `recomputed`, which gather again in the
/// backward pass.
package struct ShardedWeights: WeightSource {
    /// The ranks that share the weights.
    package let group: ProcessGroup
    private let parts: [String: Tensor]
    private let shapes: [String: [Int]]
    private let additions: @Sendable (String) throws(SwanError) -> [LowRankAddition]

    /// Weights whose parts are given.
    ///
    /// - Parameters:
    ///   - parts: This rank's parts, as `Shard.part` makes them.
    ///   - shapes: The shapes of the whole weights.
    package init(parts: [String: Tensor], shapes: [String: [Int]], _ group: ProcessGroup) {
        self.group = group
        self.parts = parts
        self.shapes = shapes
        additions = { _ throws(SwanError) in [] }
    }

    /// Reads this rank's parts of weights, one weight after the other.
    ///
    /// - Parameters:
    ///   - source: All weights; all ranks have the same. Low-rank additions stay whole.
    ///   - dtype: The dtype to keep the parts in; nil for that of each weight.
    package init(
        of source: any WeightSource,
        _ group: ProcessGroup,
        as dtype: DType? = nil,
        on device: Device = .cpu
    ) throws(SwanError) {
        var parts: [String: Tensor] = [:]
        var shapes: [String: [Int]] = [:]
        for key in source.keys.sorted() {
            guard let shape = try source.shape(key) else { continue }
            let whole = try source.tensor(key, shape)
            let part = try Shard.part(of: whole, group.rank, among: group.size)
            parts[key] = try part.to(device, dtype ?? whole.dtype)
            shapes[key] = shape
        }
        self.group = group
        self.parts = parts
        self.shapes = shapes
        additions = { key throws(SwanError) in try source.additions(key) }
    }

    /// All keys.
    package var keys: [String] { Array(shapes.keys) }

    /// The device of the parts.
    package var device: Device { parts.values.first?.device ?? .cpu }

    /// The bytes of this rank's parts.
    package var byteCount: Int { parts.values.reduce(0) { $0 + $1.byteCount } }

    /// The shape of the whole weight under a key; nil if there is no such key.
    package func shape(_ key: String) -> [Int]? { shapes[key] }

    /// The whole weight under a key; all ranks ask for it.
    package func tensor(_ key: String, _ shape: [Int]) throws(SwanError) -> Tensor {
        try tensor(key, shape, for: dtype(of: key))
    }

    /// The dtype of the parts of a weight.
    fileprivate func dtype(of key: String) -> DType { parts[key]?.dtype ?? .float32 }

    /// The same, gathered in `dtype` if that has fewer bytes.
    package func tensor(
        _ key: String,
        _ shape: [Int],
        for dtype: DType
    ) throws(SwanError) -> Tensor {
        guard let part = parts[key] else {
            throw SwanError(.invalidWeights, "there is no weight \(key)")
        }
        let whole = try group.unsharded(part, as: Self.travelling(part.dtype, for: dtype))
        return try whole.narrowed(0, 0, shape.reduce(1, *)).reshaped(shape)
    }

    /// The dtype in which a weight is gathered.
    fileprivate static func travelling(_ stored: DType, for dtype: DType) -> DType {
        dtype.size < stored.size ? dtype : stored
    }

    /// The weights under a path, gathered in one exchange for each dtype.
    package func together(
        _ path: String,
        for dtype: DType
    ) throws(SwanError) -> any WeightSource {
        let prefix = path.isEmpty ? "" : path + "."
        let below = parts.filter { $0.key.hasPrefix(prefix) }.sorted { $0.key < $1.key }
        var whole: [String: Tensor] = [:]
        for travelling in DType.allCases {
            let alike = below.filter {
                Self.travelling($0.value.dtype, for: dtype) == travelling
            }
            let gathered = try group.unsharded(alike.map(\.value), as: travelling)
            for (item, tensor) in zip(alike, gathered) { whole[item.key] = tensor }
        }
        return GatheredWeights(shared: self, whole: whole)
    }

    /// The low-rank additions to the matrix under a key.
    package func additions(_ key: String) throws(SwanError) -> [LowRankAddition] {
        try additions(key)
    }

    /// The keys and shapes, without exchanging anything.
    package var outline: any WeightSource { Outline(shapes: shapes, device: device) }
}

/// Weights some of which were gathered before.
private struct GatheredWeights: WeightSource {
    let shared: ShardedWeights
    /// The elements of weights, and zeros after them.
    let whole: [String: Tensor]

    var keys: [String] { shared.keys }

    func shape(_ key: String) -> [Int]? { shared.shape(key) }

    func tensor(_ key: String, _ shape: [Int]) throws(SwanError) -> Tensor {
        try tensor(key, shape, for: shared.dtype(of: key))
    }

    /// A weight that is asked for with more digits than it was gathered with is gathered again.
    func tensor(
        _ key: String,
        _ shape: [Int],
        for dtype: DType
    ) throws(SwanError) -> Tensor {
        guard let tensor = whole[key],
            tensor.dtype == ShardedWeights.travelling(shared.dtype(of: key), for: dtype)
        else { return try shared.tensor(key, shape, for: dtype) }
        return try tensor.narrowed(0, 0, shape.reduce(1, *)).reshaped(shape)
    }

    func additions(_ key: String) throws(SwanError) -> [LowRankAddition] {
        try shared.additions(key)
    }

    var outline: any WeightSource { shared.outline }
}

/// Zeros in the shapes of weights, which take no memory.
struct Outline: WeightSource {
    let shapes: [String: [Int]]
    let device: Device

    var keys: [String] { Array(shapes.keys) }

    func shape(_ key: String) -> [Int]? { shapes[key] }

    func tensor(_ key: String, _ shape: [Int]) throws(SwanError) -> Tensor {
        try Tensor.zeros([], .float32, device).expanded(shape)
    }
}
