package import SwanSystem

// CPU kernels, each registered as an operator so that tests can call it. Networks use the operators
// that choose between them.

private let winogradWeightOp = Operator("swan::winograd_weight")
private let winogradOp = Operator("swan::winograd")
private let enlargingWeightOp = Operator("swan::enlarging_weight")
private let enlargingOp = Operator("swan::enlarging_convolution")
private let tiledLinearWeightOp = Operator("swan::tiled_linear_weight")
private let tiledLinearOp = Operator("swan::tiled_linear")
private let tiledAttentionOp = Operator("swan::tiled_attention")
private let attentionByMatricesOp = Operator("swan::attention_by_matrices")
private let tiledConvolutionWeightOp = Operator("swan::tiled_convolution_weight")
private let tiledConvolutionOp = Operator("swan::tiled_convolution")

// MARK: - Float32, by Winograd's filtering

/// Prepares a kernel [O, I, 3, 3, 3] for `winogradConvolution`: 16/3 of its size, or 64/27 if it is
/// large.
package func winogradWeight(_ weight: Tensor) throws(SwanError) -> Tensor {
    try winogradWeightOp(weight)
}

/// A causal 3x3x3 convolution of x [B, F, H, W, I] after `front` [B, 2, H, W, I], zeros if nil,
/// plus `residual` -> [B, F, H, W, O]; float32 on the CPU, without gradients.
///
/// Uses Winograd's minimal filtering (Lavin and Gray, https://arxiv.org/abs/1509.09308), which
/// needs 6 times fewer multiplications, or 3.4 times for large kernels; its error is at most 5
/// times that of direct summation. A single frame with nothing before it, such as a video's first,
/// takes a third of the time of another.
package func winogradConvolution(
    _ front: Tensor?,
    _ x: Tensor,
    _ weight: Tensor,
    _ bias: Tensor,
    residual: Tensor? = nil
) throws(SwanError) -> Tensor {
    try winogradOp(front, x, weight, bias, residual)
}

/// Prepares a kernel [O, I, 3, 3] for `enlargingConvolution`.
package func enlargingWeight(_ weight: Tensor) throws(SwanError) -> Tensor {
    try enlargingWeightOp(weight)
}

/// A 3x3 convolution of P parts [B, F, H, W, I] at twice their height and width (nearest-neighbor
/// upsampling) -> [B, F P, 2 H, 2 W, O], with frames taken from each part in turn; float32 on the
/// CPU, without gradients.
///
/// Uses Winograd's minimal filtering (Lavin and Gray, https://arxiv.org/abs/1509.09308), with a
/// quarter of the multiplications.
package func enlargingConvolution(
    _ parts: [Tensor],
    _ weight: Tensor,
    _ bias: Tensor
) throws(SwanError) -> Tensor {
    try enlargingOp(parts, weight, bias)
}

// MARK: - Bfloat16, by the processor's tiles

/// Prepares a weight [O, I], both multiples of 32, for `tiledLinear`: [O / 32, I / 32, 2, 16, 16,
/// 2].
package func tiledLinearWeight(_ weight: Tensor) throws(SwanError) -> Tensor {
    try tiledLinearWeightOp(weight)
}

/// x [..., I] times a weight, plus a bias [O], then GELU (tanh approximation) if `gelu` -> [...,
/// O], rounded once.
package func tiledLinear(
    _ x: Tensor,
    _ weight: Tensor,
    _ bias: Tensor?,
    gelu: Bool = false
) throws(SwanError) -> Tensor {
    try tiledLinearOp(x, weight, bias, gelu)
}

/// Computes softmax(scale q k^T) v for q [B, N, Lq, D], k and v [B, N, Lk, D] -> [B, N, Lq, D].
///
/// D must be a multiple of 32, and the scale above 0. FlashAttention
/// (https://arxiv.org/abs/2205.14135): scores are float32 and never leave the cache.
package func tiledAttention(
    _ q: Tensor,
    _ k: Tensor,
    _ v: Tensor,
    scale: Double
) throws(SwanError) -> Tensor {
    try tiledAttentionOp(q, k, v, scale)
}

/// Prepares a kernel [O, I, 3, 3, 3] for `tiledConvolution`.
package func tiledConvolutionWeight(_ weight: Tensor) throws(SwanError) -> Tensor {
    try tiledConvolutionWeightOp(weight)
}

/// A causal 3x3x3 convolution of x [B, F, H, W, I] after `front` [B, 2, H, W, I], zeros if nil,
/// plus `residual` -> [B, F, H, W, O], rounded once.
package func tiledConvolution(
    _ front: Tensor?,
    _ x: Tensor,
    _ weight: Tensor,
    _ bias: Tensor,
    residual: Tensor? = nil
) throws(SwanError) -> Tensor {
    try tiledConvolutionOp(front, x, weight, bias, residual)
}

// MARK: - Any dtype

/// Computes attention by two matrix products around a softmax, for a few rows of a head at a time.
package func attentionByMatrices(
    _ q: Tensor,
    _ k: Tensor,
    _ v: Tensor,
    scale: Double? = nil
) throws(SwanError) -> Tensor {
    try attentionByMatricesOp(q, k, v, scale)
}
