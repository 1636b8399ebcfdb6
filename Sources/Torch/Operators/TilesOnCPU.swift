private let linearWeightOp = Operator("swan::linear_weight")
private let linearOp = Operator("swan::linear")
private let attentionOp = Operator("swan::attention")
private let convolutionWeightOp = Operator("swan::causal_convolution_weight")
private let convolutionOp = Operator("swan::causal_convolution")

extension Tensor {
    /// Whether kernels by tiles take it: bfloat16 on a CPU that has them, without gradients.
    public var suitsTiles: Bool {
        dtype == .bfloat16 && device == .cpu && !requiresGrad && Engine.hasTiles
    }

    /// Whether it is a matrix of whole tiles.
    public var hasWholeTiles: Bool { rank == 2 && shape.allSatisfy { $0 > 0 && $0 % 32 == 0 } }
}

/// A weight [O, I], both multiples of 32, in the form that `tiledLinear` takes:
/// [O / 32, I / 32, 2, 16, 16, 2].
public func tiledLinearWeight(_ weight: Tensor) throws(TorchError) -> Tensor {
    try linearWeightOp(weight)
}

/// The weight [O, I] that `tiledLinearWeight` was given.
public func plainLinearWeight(ofTiles tiles: Tensor) throws(TorchError) -> Tensor {
    try tiles.permuted(0, 2, 4, 1, 3, 5)
        .reshaped(tiles.size(0) * 32, tiles.size(1) * 32)
}

/// x [..., I] times a weight, plus a bias [O], then GELU (by tanh) if `gelu` -> [..., O], rounded once.
public func tiledLinear(
    _ x: Tensor,
    _ weight: Tensor,
    _ bias: Tensor?,
    gelu: Bool = false
) throws(TorchError) -> Tensor {
    try linearOp(x, weight, bias, gelu)
}

/// softmax(scale q k^T) v for q [B, N, Lq, D], k and v [B, N, Lk, D] -> [B, N, Lq, D]; D is a multiple
/// of 32, the scale above 0.
///
/// FlashAttention (https://arxiv.org/abs/2205.14135): scores are float32 and never leave the cache.
public func tiledAttention(
    _ q: Tensor,
    _ k: Tensor,
    _ v: Tensor,
    scale: Double
) throws(TorchError) -> Tensor {
    try attentionOp(q, k, v, scale)
}

/// A kernel [O, I, 3, 3, 3] in the form that `tiledConvolution` takes.
public func tiledConvolutionWeight(_ weight: Tensor) throws(TorchError) -> Tensor {
    try convolutionWeightOp(weight)
}

/// A causal 3x3x3 convolution of x [B, F, H, W, I] after `front` [B, 2, H, W, I], zeros if nil, plus
/// `residual` -> [B, F, H, W, O], rounded once.
public func tiledConvolution(
    _ front: Tensor?,
    _ x: Tensor,
    _ weight: Tensor,
    _ bias: Tensor,
    residual: Tensor? = nil
) throws(TorchError) -> Tensor {
    try convolutionOp(front, x, weight, bias, residual)
}
