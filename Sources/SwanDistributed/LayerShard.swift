import SwanSystem
import Torch
import TorchNN

/// The weights of a layer as one run of bytes, of which each rank of a group keeps an equal part.
///
/// FSDP, https://arxiv.org/abs/2304.11277, section 3.2.1: a layer takes one exchange, whose result
/// holds its weights in place, whatever their dtypes are.
struct LayerShard: Sendable {
    /// A weight's place in the bytes.
    private struct Place: Sendable {
        let offset: Int
        let dtype: DType
        /// The shape of the stored values.
        let shape: [Int]
        /// The factor of the values, whole on each rank; see `StoredWeight`.
        let factor: Tensor?
        /// How the values are blocks of a weight; nil for plain values.
        let packing: StoredWeight.Packing?

        var count: Int { shape.reduce(1, *) }
    }

    /// Weights and parts begin at multiples of this number of bytes: any dtype, in whole vectors.
    private static let alignment = 64

    /// This rank's part: bytes [n].
    let part: Tensor
    private let places: [String: Place]

    /// Reads this rank's part of some weights.
    ///
    /// - Parameters:
    ///   - keys: The keys, which all ranks have.
    ///   - dtype: The dtype of the computation: matrices in a wider one are kept in this one.
    init(
        _ keys: [String],
        of source: any WeightSource,
        _ group: ProcessGroup,
        as dtype: DType,
        on device: Device
    ) throws(SwanError) {
        var places: [String: Place] = [:]
        var values: [(key: String, values: Tensor)] = []
        var end = 0
        for key in keys.sorted() {
            let shape = try source.shape(key) ?? []
            let stored = try Self.read(key, shape, source, for: dtype)
            let found = stored.values.dtype
            guard stored.dtype.isFloatingPoint || stored.factor != nil else {
                throw SwanError(
                    .invalidWeights,
                    "\(key) is \(found), the model needs floating-point numbers"
                )
            }
            // As layers do with weights that keep their storage.
            let narrows =
                shape.count == 2 && found.size > dtype.size && stored.factor == nil
            let place = Place(
                offset: end,
                dtype: narrows ? dtype : found,
                shape: stored.values.shape,
                factor: try stored.factor?.to(device),
                packing: stored.packing
            )
            places[key] = place
            values.append((key, stored.values))
            end = Self.aligned(end + place.count * place.dtype.size)
        }
        self.places = places
        let length = Self.aligned((end + group.size - 1) / group.size)
        let own = group.rank * length..<(group.rank + 1) * length
        var part = try Tensor.zeros([length], .uint8, device)
        for (key, values) in values {
            guard let place = places[key] else { continue }
            try Self.copy(values, at: place, to: &part, own)
        }
        self.part = part
    }

    /// Matrices as stored, and others as layers ask for them.
    private static func read(
        _ key: String,
        _ shape: [Int],
        _ source: any WeightSource,
        for dtype: DType
    ) throws(SwanError) -> StoredWeight {
        guard shape.count == 2 else {
            return StoredWeight(try source.tensor(key, shape, for: dtype))
        }
        return try source.stored(key, shape)
    }

    /// Copies what is in `own` of a weight's bytes to this rank's part.
    private static func copy(
        _ values: Tensor,
        at place: Place,
        to part: inout Tensor,
        _ own: Range<Int>
    ) throws(SwanError) {
        let size = place.dtype.size
        let all = place.offset..<place.offset + place.count * size
        let bytes = all.clamped(to: own)
        guard !bytes.isEmpty else { return }
        let run = try values.detached().reshaped([-1]).narrowed(
            0,
            (bytes.lowerBound - place.offset) / size,
            bytes.count / size
        )
        var target = try part.narrowed(0, bytes.lowerBound - own.lowerBound, bytes.count)
        try target.copy(from: run.to(place.dtype).contiguous().reinterpreted(as: .uint8))
    }

    private static func aligned(_ count: Int) -> Int {
        (count + alignment - 1) / alignment * alignment
    }

    /// The shapes of the weights.
    var shapes: [String: [Int]] { places.mapValues { $0.packing?.shape ?? $0.shape } }

    /// A weight in the bytes of the whole layer; nil if it is not of this layer.
    func weight(_ key: String, in whole: Tensor) throws(SwanError) -> StoredWeight? {
        guard let place = places[key] else { return nil }
        let bytes = try whole.narrowed(0, place.offset, place.count * place.dtype.size)
        let values = try bytes.reinterpreted(as: place.dtype).reshaped(place.shape)
        if let packing = place.packing { return StoredWeight(values, in: packing) }
        return StoredWeight(values, factor: place.factor)
    }
}
