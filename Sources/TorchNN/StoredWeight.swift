public import SwanSystem
import Synchronization
public import Torch

/// A weight as stored in a file, with the factor that its values are multiplied by.
public struct StoredWeight: Sendable {
    /// The stored values, of any dtype.
    public let values: Tensor
    /// The factor: one number, or one for each row [rows, 1, ...]; nil for 1.
    public let factor: Tensor?

    /// Creates a stored weight from values and their factor.
    public init(_ values: Tensor, factor: Tensor? = nil) {
        self.values = values
        self.factor = factor
    }

    /// The weight in `dtype`; if no change is needed this is `values`, not a copy.
    public func weight(_ dtype: DType) throws(SwanError) -> Tensor {
        guard let factor, factor.count > 1 else {
            return try values.widened(to: dtype, times: factor)
        }
        return try (values.widened(to: .float32) * factor).to(dtype)
    }

    /// The stored weight on a device.
    func to(_ device: Device) throws(SwanError) -> StoredWeight {
        try StoredWeight(values.to(device), factor: factor?.to(device))
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
