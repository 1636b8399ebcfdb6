public import SwanSystem

private let emptyOp = Operator("aten::empty", "memory_format")
private let zerosOp = Operator("aten::zeros")
private let fullOp = Operator("aten::full")
private let arangeOp = Operator("aten::arange", "start_step")
private let linspaceOp = Operator("aten::linspace")
private let randnOp = Operator("aten::randn", "generator")
private let randOp = Operator("aten::rand", "generator")
private let randintOp = Operator("aten::randint", "low_generator")
private let zerosLikeOp = Operator("aten::zeros_like")
private let onesLikeOp = Operator("aten::ones_like")
private let trilOp = Operator("aten::tril")

/// The dispatcher's "no value" for an optional argument of a schema.
let absent: Int? = nil

extension Tensor {
    /// Uninitialized memory.
    public static func empty(
        _ shape: [Int],
        _ dtype: DType = .float32,
        _ device: Device = .cpu
    ) throws(SwanError) -> Tensor {
        try emptyOp(shape, dtype, absent, device)
    }

    /// A tensor of zeros.
    public static func zeros(
        _ shape: [Int],
        _ dtype: DType = .float32,
        _ device: Device = .cpu
    ) throws(SwanError) -> Tensor {
        try zerosOp(shape, dtype, absent, device)
    }

    /// A tensor of ones.
    public static func ones(
        _ shape: [Int],
        _ dtype: DType = .float32,
        _ device: Device = .cpu
    ) throws(SwanError) -> Tensor {
        try fullOp(shape, 1.0, dtype, absent, device)
    }

    /// A tensor with every element set to `value`.
    public static func full(
        _ shape: [Int],
        _ value: Double,
        _ dtype: DType = .float32,
        _ device: Device = .cpu
    ) throws(SwanError) -> Tensor {
        try fullOp(shape, value, dtype, absent, device)
    }

    /// `start`, `start + step`, ... below `end`.
    public static func arange(
        _ start: Double = 0,
        _ end: Double,
        step: Double = 1,
        _ dtype: DType = .float32,
        _ device: Device = .cpu
    ) throws(SwanError) -> Tensor {
        try arangeOp(start, end, step, dtype, absent, device)
    }

    /// `count` numbers from `start` to `end`, both included.
    public static func linspace(
        _ start: Double,
        _ end: Double,
        count: Int,
        _ dtype: DType = .float32,
        _ device: Device = .cpu
    ) throws(SwanError) -> Tensor {
        try linspaceOp(start, end, count, dtype, absent, device)
    }

    /// Standard normal random numbers.
    public static func randn(
        _ shape: [Int],
        _ generator: Generator,
        _ dtype: DType = .float32,
        _ device: Device = .cpu
    ) throws(SwanError) -> Tensor {
        try randnOp(shape, generator, dtype, absent, device)
    }

    /// Uniform random numbers in [0, 1).
    public static func rand(
        _ shape: [Int],
        _ generator: Generator,
        _ dtype: DType = .float32,
        _ device: Device = .cpu
    ) throws(SwanError) -> Tensor {
        try randOp(shape, generator, dtype, absent, device)
    }

    /// Uniform random integers in `range`.
    public static func randint(
        _ range: Range<Int>,
        _ shape: [Int],
        _ generator: Generator,
        _ dtype: DType = .int64,
        _ device: Device = .cpu
    ) throws(SwanError) -> Tensor {
        try randintOp(range.lowerBound, range.upperBound, shape, generator, dtype, absent, device)
    }

    /// Zeros with this tensor's shape, dtype and device.
    public func zerosLike() throws(SwanError) -> Tensor { try zerosLikeOp(self) }

    /// Ones with this tensor's shape, dtype and device.
    public func onesLike() throws(SwanError) -> Tensor { try onesLikeOp(self) }

    /// The lower triangle of the last two dimensions; the rest is zero.
    public func lowerTriangle(diagonal: Int = 0) throws(SwanError) -> Tensor {
        try trilOp(self, diagonal)
    }
}
