package import SwanSystem

// Linear layers and attention, with the kernel that the dispatcher selects for a device.

private let operandOp = Operator("swan::product_operand")
private let linearWeightOp = Operator("swan::linear_weight")
private let linearOp = Operator("swan::linear")
private let storedLinearOp = Operator("swan::stored_linear")
private let attentionOp = Operator("swan::attention")
private let cpuFlashOp = Operator("aten::_scaled_dot_product_flash_attention_for_cpu")
private let flashOp = Operator("aten::_scaled_dot_product_flash_attention")
private let efficientOp = Operator("aten::_scaled_dot_product_efficient_attention")

extension Tensor {
    /// The tensor in the dtype that is fastest for its products: `DType.productType`.
    package func asProductOperand() throws(SwanError) -> Tensor { try operandOp(self) }

    /// The weight [O, I] in the form that is fastest for `preparedLinear` on its device.
    ///
    /// Gradients propagate through it. The form is specific to this processor and must not be
    /// stored.
    package func preparedForLinear() throws(SwanError) -> Tensor { try linearWeightOp(self) }
}

/// x [..., I] times the transpose of a weight from `preparedForLinear`, plus a bias [O], then GELU
/// (tanh approximation) if `gelu` -> [..., O].
package func preparedLinear(
    _ x: Tensor,
    _ weight: Tensor,
    _ bias: Tensor?,
    gelu: Bool = false
) throws(SwanError) -> Tensor {
    try linearOp(x, weight, bias, gelu)
}

/// The same with a weight [O, I] as stored, of any dtype, times `factor`: one number, one for each
/// row [O, 1], or nil for 1.
package func storedLinear(
    _ x: Tensor,
    _ values: Tensor,
    factor: Tensor?,
    _ bias: Tensor?,
    gelu: Bool = false
) throws(SwanError) -> Tensor {
    try storedLinearOp(x, values, factor, bias, gelu)
}

/// Computes softmax(scale q k^T) v for q [B, N, Lq, D], k and v [B, N, Lk, D] -> [B, N, Lq, D].
///
/// - Parameters:
///   - mask: Broadcasts to [B, N, Lq, Lk] and is added to the scores; a boolean mask keeps the true
///     ones.
///   - scale: The scale of the scores; 1 / sqrt(D) if nil.
package func attentionByHead(
    _ q: Tensor,
    _ k: Tensor,
    _ v: Tensor,
    mask: Tensor? = nil,
    scale: Double? = nil
) throws(SwanError) -> Tensor {
    try attentionOp(q, k, v, mask, scale)
}

/// Attention q [B, N, Lq, D] to k, v [B, N, Lk, D], and the logarithms of its sums of exponentials
/// [B, N, Lq], both in float32. Has no gradient.
package func attentionWithSums(
    _ q: Tensor,
    _ k: Tensor,
    _ v: Tensor
) throws(SwanError) -> (result: Tensor, sums: Tensor) {
    let results =
        if q.device == .cpu {
            try cpuFlashOp.tensors(q, k, v, 0.0, false)
        } else if q.dtype == .float32 {
            try efficientOp.tensors(q, k, v, absent, true, 0.0, false)
        } else {
            try flashOp.tensors(q, k, v, 0.0, false, false)
        }
    // Kernels of GPUs pad the sums to a multiple of 32.
    let sums = try results[1].narrowed(2, 0, q.size(2))
    return (try results[0].to(.float32), try sums.to(.float32))
}
