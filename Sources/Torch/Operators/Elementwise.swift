public import SwanSystem

private let expOp = Operator("aten::exp")
private let logOp = Operator("aten::log")
private let sinOp = Operator("aten::sin")
private let cosOp = Operator("aten::cos")
private let sqrtOp = Operator("aten::sqrt")
private let rsqrtOp = Operator("aten::rsqrt")
private let absOp = Operator("aten::abs")
private let roundOp = Operator("aten::round")
private let floorOp = Operator("aten::floor")
private let sigmoidOp = Operator("aten::sigmoid")
private let tanhOp = Operator("aten::tanh")
private let reluOp = Operator("aten::relu")
private let reluInPlaceOp = Operator("aten::relu_")
private let siluOp = Operator("aten::silu")
private let siluInPlaceOp = Operator("aten::silu_")
private let geluOp = Operator("aten::gelu")
private let softplusOp = Operator("aten::softplus")
private let clampOp = Operator("aten::clamp")
private let minimumOp = Operator("aten::minimum")
private let maximumOp = Operator("aten::maximum")
private let logaddexpOp = Operator("aten::logaddexp")
private let isFiniteOp = Operator("aten::isfinite")
private let greaterOp = Operator("aten::gt", "Scalar")
private let lessOp = Operator("aten::lt", "Scalar")
private let equalOp = Operator("aten::eq", "Scalar")
private let greaterTensorOp = Operator("aten::gt", "Tensor")
private let lessTensorOp = Operator("aten::lt", "Tensor")
private let lessOrEqualTensorOp = Operator("aten::le", "Tensor")
private let equalTensorOp = Operator("aten::eq", "Tensor")
private let whereOp = Operator("aten::where", "self")
private let maskedFillOp = Operator("aten::masked_fill", "Scalar")
private let toDTypeOp = Operator("aten::to", "dtype")
private let toDeviceOp = Operator("aten::to", "device")

extension Tensor {
    /// The exponential of every element.
    public func exp() throws(SwanError) -> Tensor { try expOp(self) }
    /// The natural logarithm.
    public func log() throws(SwanError) -> Tensor { try logOp(self) }
    /// The sine.
    public func sin() throws(SwanError) -> Tensor { try sinOp(self) }
    /// The cosine.
    public func cos() throws(SwanError) -> Tensor { try cosOp(self) }
    /// The square root.
    public func squareRoot() throws(SwanError) -> Tensor { try sqrtOp(self) }
    /// One over the square root.
    public func reciprocalSquareRoot() throws(SwanError) -> Tensor { try rsqrtOp(self) }
    /// The absolute value.
    public func abs() throws(SwanError) -> Tensor { try absOp(self) }
    /// The nearest integer, with halves rounded to even.
    public func rounded() throws(SwanError) -> Tensor { try roundOp(self) }
    /// The largest integer that is not greater.
    public func floor() throws(SwanError) -> Tensor { try floorOp(self) }
    /// The logistic function.
    public func sigmoid() throws(SwanError) -> Tensor { try sigmoidOp(self) }
    /// The hyperbolic tangent.
    public func tanh() throws(SwanError) -> Tensor { try tanhOp(self) }
    /// max(x, 0).
    public func relu() throws(SwanError) -> Tensor { try reluOp(self) }
    /// max(x, 0), in place.
    public mutating func applyRelu() throws(SwanError) { try reluInPlaceOp.run(self) }
    /// x * sigmoid(x).
    public func silu() throws(SwanError) -> Tensor { try siluOp(self) }
    /// x * sigmoid(x), in place.
    public mutating func applySilu() throws(SwanError) { try siluInPlaceOp.run(self) }
    /// log(1 + e^x).
    public func softplus() throws(SwanError) -> Tensor { try softplusOp(self) }
    /// The Gaussian error linear unit, exact or with the tanh approximation.
    public func gelu(tanh approximate: Bool = false) throws(SwanError) -> Tensor {
        try geluOp(self, approximate ? "tanh" : "none")
    }

    /// Every element clamped to the given bounds.
    public func clamped(min: Double? = nil, max: Double? = nil) throws(SwanError) -> Tensor {
        try clampOp(self, min, max)
    }

    /// Whether each element is neither infinite nor NaN.
    public func isFinite() throws(SwanError) -> Tensor { try isFiniteOp(self) }

    /// Whether each element of `a` is greater than `b`: a boolean tensor.
    public static func .> (a: Tensor, b: Double) throws(SwanError) -> Tensor {
        try greaterOp(a, b)
    }
    /// Whether each element of `a` is less than `b`: a boolean tensor.
    public static func .< (a: Tensor, b: Double) throws(SwanError) -> Tensor { try lessOp(a, b) }
    /// Whether each element of `a` equals `b`: a boolean tensor.
    public static func .== (a: Tensor, b: Double) throws(SwanError) -> Tensor {
        try equalOp(a, b)
    }
    /// Whether each element of `a` is greater than that of `b`: a boolean tensor.
    public static func .> (a: Tensor, b: Tensor) throws(SwanError) -> Tensor {
        try greaterTensorOp(a, b)
    }
    /// Whether each element of `a` is less than that of `b`: a boolean tensor.
    public static func .< (a: Tensor, b: Tensor) throws(SwanError) -> Tensor {
        try lessTensorOp(a, b)
    }
    /// Whether each element of `a` is at most that of `b`: a boolean tensor.
    public static func .<= (a: Tensor, b: Tensor) throws(SwanError) -> Tensor {
        try lessOrEqualTensorOp(a, b)
    }
    /// Whether each element of `a` equals that of `b`: a boolean tensor.
    public static func .== (a: Tensor, b: Tensor) throws(SwanError) -> Tensor {
        try equalTensorOp(a, b)
    }

    /// `value` where `mask` is true, the original element elsewhere.
    public func filled(where mask: Tensor, with value: Double) throws(SwanError) -> Tensor {
        try maskedFillOp(self, mask, value)
    }

    /// The tensor converted to a dtype; the tensor itself if it has that dtype.
    public func to(_ dtype: DType) throws(SwanError) -> Tensor {
        self.dtype == dtype ? self : try toDTypeOp(self, dtype)
    }

    /// The tensor moved to a device; the tensor itself if it is already there.
    public func to(_ device: Device) throws(SwanError) -> Tensor { try to(device, dtype) }

    /// The tensor moved to a device and converted to a dtype, in one step.
    public func to(_ device: Device, _ dtype: DType) throws(SwanError) -> Tensor {
        guard self.device != device || self.dtype != dtype else { return self }
        // A copy to a GPU need not be waited for: memory that is not pinned is read before the call
        // returns, and the copy is ordered in the GPU's stream. A copy back must be waited for.
        return try toDeviceOp(self, device, dtype, device != .cpu)
    }
}

/// The elementwise minimum.
public func minimum(_ a: Tensor, _ b: Tensor) throws(SwanError) -> Tensor { try minimumOp(a, b) }

/// log(exp(a) + exp(b)), elementwise.
package func logAddExp(_ a: Tensor, _ b: Tensor) throws(SwanError) -> Tensor {
    try logaddexpOp(a, b)
}

/// The elementwise maximum.
public func maximum(_ a: Tensor, _ b: Tensor) throws(SwanError) -> Tensor { try maximumOp(a, b) }

/// The element of `a` where `mask` is true, that of `b` elsewhere.
public func choose(_ mask: Tensor, _ a: Tensor, _ b: Tensor) throws(SwanError) -> Tensor {
    try whereOp(mask, a, b)
}
