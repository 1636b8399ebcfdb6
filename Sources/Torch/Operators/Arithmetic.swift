public import SwanSystem

private let addOp = Operator("aten::add", "Tensor")
private let addScalarOp = Operator("aten::add", "Scalar")
private let subOp = Operator("aten::sub", "Tensor")
private let subScalarOp = Operator("aten::sub", "Scalar")
private let rsubScalarOp = Operator("aten::rsub", "Scalar")
private let mulOp = Operator("aten::mul", "Tensor")
private let mulScalarOp = Operator("aten::mul", "Scalar")
private let divOp = Operator("aten::div", "Tensor")
private let divScalarOp = Operator("aten::div", "Scalar")
private let reciprocalOp = Operator("aten::reciprocal")
private let negOp = Operator("aten::neg")
private let powOp = Operator("aten::pow", "Tensor_Scalar")
private let addcmulOp = Operator("aten::addcmul")
private let lerpOp = Operator("aten::lerp", "Scalar")

private let addInPlaceOp = Operator("aten::add_", "Tensor")
private let addScalarInPlaceOp = Operator("aten::add_", "Scalar")
private let subInPlaceOp = Operator("aten::sub_", "Tensor")
private let mulInPlaceOp = Operator("aten::mul_", "Tensor")
private let mulScalarInPlaceOp = Operator("aten::mul_", "Scalar")
private let divInPlaceOp = Operator("aten::div_", "Tensor")
private let addcmulInPlaceOp = Operator("aten::addcmul_")
private let addcdivInPlaceOp = Operator("aten::addcdiv_")
private let lerpInPlaceOp = Operator("aten::lerp_", "Scalar")
private let copyInPlaceOp = Operator("aten::copy_")
private let fillInPlaceOp = Operator("aten::fill_", "Scalar")

extension Tensor {
    /// The sum of two tensors, element by element.
    public static func + (a: Tensor, b: Tensor) throws(SwanError) -> Tensor { try addOp(a, b) }
    /// The sum of a tensor and a number, element by element.
    public static func + (a: Tensor, b: Double) throws(SwanError) -> Tensor {
        try addScalarOp(a, b)
    }
    /// The sum of a tensor and a number, element by element.
    public static func + (a: Double, b: Tensor) throws(SwanError) -> Tensor {
        try addScalarOp(b, a)
    }
    /// The difference of two tensors, element by element.
    public static func - (a: Tensor, b: Tensor) throws(SwanError) -> Tensor { try subOp(a, b) }
    /// The difference of a tensor and a number, element by element.
    public static func - (a: Tensor, b: Double) throws(SwanError) -> Tensor {
        try subScalarOp(a, b)
    }
    /// The difference of a tensor and a number, element by element.
    public static func - (a: Double, b: Tensor) throws(SwanError) -> Tensor {
        try rsubScalarOp(b, a)
    }
    /// The product of two tensors, element by element.
    public static func * (a: Tensor, b: Tensor) throws(SwanError) -> Tensor { try mulOp(a, b) }
    /// The product of a tensor and a number, element by element.
    public static func * (a: Tensor, b: Double) throws(SwanError) -> Tensor {
        try mulScalarOp(a, b)
    }
    /// The product of a tensor and a number, element by element.
    public static func * (a: Double, b: Tensor) throws(SwanError) -> Tensor {
        try mulScalarOp(b, a)
    }
    /// The quotient of two tensors, element by element.
    public static func / (a: Tensor, b: Tensor) throws(SwanError) -> Tensor { try divOp(a, b) }
    /// The quotient of a tensor and a number, element by element.
    public static func / (a: Tensor, b: Double) throws(SwanError) -> Tensor {
        try divScalarOp(a, b)
    }
    /// The quotient of a tensor and a number, element by element.
    public static func / (a: Double, b: Tensor) throws(SwanError) -> Tensor {
        try mulScalarOp(try reciprocalOp(b), a)
    }
    /// The negation of every element.
    public static prefix func - (a: Tensor) throws(SwanError) -> Tensor { try negOp(a) }

    /// Every element raised to the power `exponent`.
    public func pow(_ exponent: Double) throws(SwanError) -> Tensor { try powOp(self, exponent) }

    /// `self + value * a * b`, in one pass.
    public func adding(
        product a: Tensor,
        _ b: Tensor,
        scaledBy value: Double = 1
    ) throws(SwanError) -> Tensor {
        try addcmulOp(self, a, b, value)
    }

    /// `self + weight * (end - self)`.
    public func interpolated(to end: Tensor, weight: Double) throws(SwanError) -> Tensor {
        try lerpOp(self, end, weight)
    }
}

// MARK: - In place

extension Tensor {
    /// `self += scale * other`, in place.
    public mutating func add(_ other: Tensor, scaledBy scale: Double = 1) throws(SwanError) {
        try addInPlaceOp.run(self, other, scale)
    }

    /// `self += value`, in place.
    public mutating func add(_ value: Double) throws(SwanError) {
        try addScalarInPlaceOp.run(self, value)
    }

    /// `self -= scale * other`, in place.
    public mutating func subtract(_ other: Tensor, scaledBy scale: Double = 1) throws(SwanError) {
        try subInPlaceOp.run(self, other, scale)
    }

    /// `self *= other`, in place.
    public mutating func multiply(by other: Tensor) throws(SwanError) {
        try mulInPlaceOp.run(self, other)
    }

    /// `self *= value`, in place.
    public mutating func multiply(by value: Double) throws(SwanError) {
        try mulScalarInPlaceOp.run(self, value)
    }

    /// `self /= other`, in place.
    public mutating func divide(by other: Tensor) throws(SwanError) {
        try divInPlaceOp.run(self, other)
    }

    /// `self += value * a * b`, in place.
    public mutating func add(
        product a: Tensor,
        _ b: Tensor,
        scaledBy value: Double = 1
    ) throws(SwanError) {
        try addcmulInPlaceOp.run(self, a, b, value)
    }

    /// `self += value * a / b`, in place.
    public mutating func add(
        quotient a: Tensor,
        _ b: Tensor,
        scaledBy value: Double = 1
    ) throws(SwanError) {
        try addcdivInPlaceOp.run(self, a, b, value)
    }

    /// `self += weight * (end - self)`, in place.
    public mutating func interpolate(to end: Tensor, weight: Double) throws(SwanError) {
        try lerpInPlaceOp.run(self, end, weight)
    }

    /// Overwrites the elements with those of `source`, converting dtype and device.
    public mutating func copy(from source: Tensor) throws(SwanError) {
        try copyInPlaceOp.run(self, source)
    }

    /// Overwrites every element with `value`.
    public mutating func fill(with value: Double) throws(SwanError) {
        try fillInPlaceOp.run(self, value)
    }
}
