public import SwanSystem
import Synchronization
public import Torch

/// A weight as stored in a file: values with a factor that they are multiplied by, or blocks.
public struct StoredWeight: Sendable {
    /// The stored values, of any dtype; for a weight in blocks, their bytes [..., bytes of a row], or
    /// [blocks, bytes of a block] if its rows are not whole blocks.
    public let values: Tensor
    /// The factor: one number, or one for each row [rows, 1, ...]; nil for 1.
    public let factor: Tensor?
    /// The blocks that the weight is in, and its shape; nil for plain values.
    public let packing: Packing?

    /// How a weight is stored in blocks that share scales.
    public struct Packing: Sendable, Equatable {
        /// The format of the blocks.
        public let format: BlockFormat
        /// The shape of the weight.
        public let shape: [Int]

        /// Creates the description of a weight in blocks.
        public init(_ format: BlockFormat, _ shape: [Int]) {
            self.format = format
            self.shape = shape
        }
    }

    /// Creates a stored weight from values and their factor.
    public init(_ values: Tensor, factor: Tensor? = nil) {
        self.values = values
        self.factor = factor
        packing = nil
    }

    /// Creates a weight from the bytes of its blocks.
    public init(_ values: Tensor, in packing: Packing) {
        self.values = values
        self.packing = packing
        factor = nil
    }

    /// The dtype of the values; for a weight in blocks, the one that they are computed in.
    public var dtype: DType { packing == nil ? values.dtype : .float32 }

    /// The weight in `dtype`; if no change is needed this is `values`, not a copy.
    public func weight(_ dtype: DType) throws(SwanError) -> Tensor {
        if let packing { return try Self.unpacked(values, packing, dtype) }
        guard let factor, factor.count > 1 else {
            return try values.widened(to: dtype, times: factor)
        }
        return try (values.widened(to: .float32) * factor).to(dtype)
    }

    private static func unpacked(
        _ values: Tensor,
        _ packing: Packing,
        _ dtype: DType
    ) throws(SwanError) -> Tensor {
        let isDirect = [.float32, .float16, .bfloat16].contains(dtype)
        let blocks = try values.reshaped([-1, packing.format.byteCount])
        let weights = try blocks.dequantized(packing.format, to: isDirect ? dtype : .float32)
        return try weights.reshaped(packing.shape).to(dtype)
    }

    /// Some rows of the weight as stored: those from `start` on.
    ///
    /// Rows that are not whole blocks are converted, all of them each time; see `inRows`.
    package func rows(_ start: Int, _ count: Int) throws(SwanError) -> StoredWeight {
        if let packing {
            guard hasWholeRows else {
                return StoredWeight(try weight(.float32).narrowed(0, start, count))
            }
            let part = Packing(packing.format, [count] + packing.shape.dropFirst())
            return StoredWeight(try values.narrowed(0, start, count), in: part)
        }
        var part = factor
        if let factor, factor.count > 1 { part = try factor.narrowed(0, start, count) }
        return StoredWeight(try values.narrowed(0, start, count), factor: part)
    }

    /// Whether rows can be taken from the values without converting all of them.
    private var hasWholeRows: Bool {
        guard let packing else { return true }
        return values.shape.dropLast() == packing.shape.dropLast()
            && packing.shape.last.map { $0 % packing.format.elements == 0 } ?? false
    }

    /// The same weight, of which rows can be taken: as plain values if its rows are not whole blocks.
    package func inRows() throws(SwanError) -> StoredWeight {
        hasWholeRows ? self : StoredWeight(try weight(.float32))
    }

    /// The rows of a table [rows, dim] under integer ids [...]: [..., dim] in `dtype`.
    func rows(at ids: Tensor, _ dtype: DType) throws(SwanError) -> Tensor {
        let table = try inRows()
        let rows = try embedding(table.values, ids)
        if let packing = table.packing {
            let found = Packing(packing.format, ids.shape + packing.shape.dropFirst())
            return try StoredWeight(rows, in: found).weight(dtype)
        }
        var factor = table.factor
        // If each row of the table has a factor, look up the factors too.
        if let all = factor, all.count > 1 {
            factor = try embedding(all, ids)
        }
        return try StoredWeight(rows, factor: factor).weight(dtype)
    }

    /// Whether no value and no factor is a NaN or an infinity. Converts a part at a time.
    package func isAllFinite() throws(SwanError) -> Bool {
        if let factor, try !Checkpoint.isFinite(factor) { return false }
        guard let packing else { return try Checkpoint.isFinite(values) }
        let blocks = try values.reshaped([-1, packing.format.byteCount])
        let most = (1 << 24) / packing.format.elements
        for start in stride(from: 0, to: blocks.size(0), by: most) {
            let part = try blocks.narrowed(0, start, min(most, blocks.size(0) - start))
            guard try part.dequantized(packing.format, to: .float32).isAllFinite() else {
                return false
            }
        }
        return true
    }

    /// The stored weight on a device.
    func to(_ device: Device) throws(SwanError) -> StoredWeight {
        if let packing { return StoredWeight(try values.to(device), in: packing) }
        return try StoredWeight(values.to(device), factor: factor?.to(device))
    }
}

/// A product of two narrow matrices that is added to that of a layer, with an adjustable strength.
///
/// LoRA, https://arxiv.org/abs/2106.09685, equation 3.
public struct LowRankAddition: Sendable {
    /// [rank, inputs] and [outputs, rank].
    public let down, up: Tensor
    /// The factor of the strength: alpha / rank.
    public let factor: Double
    /// The strength of the addition.
    public let strength: Strength

    /// Creates the product of `up` [outputs, rank] and `down` [rank, inputs].
    public init(down: Tensor, up: Tensor, factor: Double, strength: Strength) {
        self.down = down
        self.up = up
        self.factor = factor
        self.strength = strength
    }

    /// A number that layers read at every call, so that it can be changed while they are in use.
    public final class Strength: Sendable {
        private let number: Mutex<Double>

        /// Creates a strength with an initial value.
        public init(_ value: Double) { number = Mutex(value) }

        /// The strength, used from the next call on.
        public var value: Double {
            get { number.withLock { $0 } }
            set { number.withLock { $0 = newValue } }
        }
    }

    /// The addition in a dtype on a device.
    func to(_ device: Device, _ dtype: DType) throws(SwanError) -> LowRankAddition {
        try LowRankAddition(
            down: down.to(device, dtype),
            up: up.to(device, dtype),
            factor: factor,
            strength: strength
        )
    }

    /// Adds the product with x [..., inputs] to the columns of y [..., outputs] from `start` on.
    func add(to y: Tensor, from start: Int, _ x: Tensor) throws(SwanError) {
        let scale = factor * strength.value
        guard scale != 0 else { return }
        var columns = try y.narrowed(-1, start, up.size(0))
        let product = try linear(linear(x, down.to(x.dtype)), up.to(x.dtype))
        try columns.add(product, scaledBy: scale)
    }
}
