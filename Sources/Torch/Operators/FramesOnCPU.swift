private let winogradWeightOp = Operator("swan::winograd_weight")
private let winogradOp = Operator("swan::winograd")
private let enlargingWeightOp = Operator("swan::enlarging_weight")
private let enlargingOp = Operator("swan::enlarging_convolution")
private let pixelNormOp = Operator("swan::pixel_norm")
private let toPatchesOp = Operator("swan::to_patches")
private let fromPatchesOp = Operator("swan::from_patches")

/// A kernel [O, I, 3, 3, 3] in the form `winogradConvolution` takes: 16/3 of its size, 64/27 where it is large.
///
/// The form is this processor's own, not one to be stored.
public func winogradWeight(_ weight: Tensor) throws(TorchError) -> Tensor {
    try winogradWeightOp(weight)
}

/// A causal 3x3x3 convolution of x [B, F, H, W, I] after `front` [B, 2, H, W, I], zeros if nil, plus
/// `residual` -> [B, F, H, W, O]; float32 on the CPU, without gradients.
///
/// By Winograd's minimal filtering (Lavin and Gray, https://arxiv.org/abs/1509.09308), which needs 6 times
/// fewer multiplications, for large kernels 3.4 times; its error is at most 5 times that of a sum taken
/// directly. A single frame with nothing before it, as a video's first, takes a third of another's.
public func winogradConvolution(
    _ front: Tensor?,
    _ x: Tensor,
    _ weight: Tensor,
    _ bias: Tensor,
    residual: Tensor? = nil
) throws(TorchError) -> Tensor {
    try winogradOp(front, x, weight, bias, residual)
}

/// A kernel [O, I, 3, 3] in the form `enlargingConvolution` takes.
///
/// The form is this processor's own, not one to be stored.
public func enlargingWeight(_ weight: Tensor) throws(TorchError) -> Tensor {
    try enlargingWeightOp(weight)
}

/// A 3x3 convolution of P parts [B, F, H, W, I] at twice their height and width (every pixel four times)
/// -> [B, F P, 2 H, 2 W, O], frames taken from each part in turn; float32 on the CPU, without gradients.
///
/// By Winograd's minimal filtering (Lavin and Gray, https://arxiv.org/abs/1509.09308), with a quarter of the
/// multiplications.
public func enlargingConvolution(
    _ parts: [Tensor],
    _ weight: Tensor,
    _ bias: Tensor
) throws(TorchError) -> Tensor {
    try enlargingOp(parts, weight, bias)
}

/// x [..., C] at length 1 over C, times `gain` [C], then SiLU if `silu`; float32 or bfloat16 on the CPU,
/// without gradients.
public func pixelNorm(_ x: Tensor, gain: Tensor, silu: Bool) throws(TorchError) -> Tensor {
    try pixelNormOp(x, gain, silu)
}

/// x [B, C, T, H, W] -> [B, T, H/p, W/p, C p p], in the order channel, column, row; float32 on the CPU,
/// without gradients.
public func patches(_ x: Tensor, size: Int) throws(TorchError) -> Tensor {
    try toPatchesOp(x, size)
}

/// x [B, T, h, w, C p p], in the order channel, column, row -> [B, T, h p, w p, C]; float32 on the CPU,
/// without gradients.
public func pixels(ofPatches x: Tensor, size: Int) throws(TorchError) -> Tensor {
    try fromPatchesOp(x, size)
}
