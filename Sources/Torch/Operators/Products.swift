public import SwanSystem

// Linear layers and attention, by the kernel that the dispatcher finds for a device.

private let operandOp = Operator("swan::product_operand")
private let linearWeightOp = Operator("swan::linear_weight")
private let linearOp = Operator("swan::linear")
private let storedLinearOp = Operator("swan::stored_linear")
private let attentionOp = Operator("swan::attention")

extension Tensor {
    /// The tensor in the dtype in which its products are best taken: `DType.productType`.
    public func asProductOperand() throws(SwanError) -> Tensor { try operandOp(self) }

    /// The weight [O, I] in the form in which `preparedLinear` is the fastest on its device; gradients go
    /// through it. The form is this processor's own, not one to be stored.
    public func preparedForLinear() throws(SwanError) -> Tensor { try linearWeightOp(self) }
}

/// x [..., I] by the transpose of a weight from `preparedForLinear`, plus a bias [O], then GELU (by tanh)
/// if `gelu` -> [..., O].
public func preparedLinear(
    _ x: Tensor,
    _ weight: Tensor,
    _ bias: Tensor?,
    gelu: Bool = false
) throws(SwanError) -> Tensor {
    try linearOp(x, weight, bias, gelu)
}

/// The same of a weight [O, I] as it is stored, of any dtype, times `factor`: one number, one for each row
/// [O, 1], nil for 1.
public func storedLinear(
    _ x: Tensor,
    _ values: Tensor,
    factor: Tensor?,
    _ bias: Tensor?,
    gelu: Bool = false
) throws(SwanError) -> Tensor {
    try storedLinearOp(x, values, factor, bias, gelu)
}

/// softmax(scale q k^T) v for q [B, N, Lq, D], k and v [B, N, Lk, D] -> [B, N, Lq, D].
///
/// - Parameters:
///   - mask: broadcasts to [B, N, Lq, Lk] and is added to the scores (or, as booleans, keeps the true).
///   - scale: 1 / sqrt(D) if nil.
public func attentionByHead(
    _ q: Tensor,
    _ k: Tensor,
    _ v: Tensor,
    mask: Tensor? = nil,
    scale: Double? = nil
) throws(SwanError) -> Tensor {
    try attentionOp(q, k, v, mask, scale)
}
