package import SwanSystem

// Layers of networks over frames. Each operator has kernels for some devices and a composite of the
// engine's own operators for all others and for gradients; the dispatcher chooses between them.

private let causalWeightOp = Operator("swan::causal_conv3d_weight")
private let causalOp = Operator("swan::causal_conv3d")
private let enlargingWeightOp = Operator("swan::enlarging_conv_weight")
private let enlargingOp = Operator("swan::enlarging_conv")
private let subpixelWeightOp = Operator("swan::subpixel_conv_weight")
private let subpixelOp = Operator("swan::subpixel_conv")
private let pixelNormOp = Operator("swan::pixel_norm")
private let toPatchesOp = Operator("swan::to_patches")
private let fromPatchesOp = Operator("swan::from_patches")

/// A kernel as stored in a checkpoint, and prepared for its operator.
///
/// The prepared form is specific to this processor and must not be stored. Gradients propagate to
/// both forms.
package struct PreparedKernel: Sendable {
    /// The kernel as in the checkpoint.
    package let weight: Tensor
    fileprivate let prepared: Tensor

    fileprivate init(_ weight: Tensor, prepared: Tensor) {
        self.weight = weight
        self.prepared = prepared
    }
}

// MARK: - Causal convolutions

extension PreparedKernel {
    /// Prepares a kernel [O, I, f, s, s] for `causalConv3d` with output frames `stride` apart.
    package static func causal(
        _ weight: Tensor,
        stride: Int = 1
    ) throws(SwanError) -> PreparedKernel {
        PreparedKernel(weight, prepared: try causalWeightOp(weight, stride))
    }
}

/// A convolution over frames, rows and columns that sees only the current and earlier frames: x [B,
/// F, H, W, I] -> [B, F, H, W, O], plus `residual`.
///
/// - Parameters:
///   - kernel: The kernel from `PreparedKernel.causal`, without a stride.
///   - front: The frames before x [B, f - 1, H, W, I], zeros if nil.
package func causalConv3d(
    _ x: Tensor,
    _ kernel: PreparedKernel,
    _ bias: Tensor,
    after front: Tensor?,
    residual: Tensor? = nil
) throws(SwanError) -> Tensor {
    try causalOp(x, kernel.weight, kernel.prepared, bias, front, residual)
}

/// The same for x that includes the frames before it: [B, f - 1 + F, H, W, I] -> [B, F', H, W, O],
/// with output frames `stride` apart.
package func causalConv3d(
    joined x: Tensor,
    _ kernel: PreparedKernel,
    _ bias: Tensor,
    stride: Int = 1
) throws(SwanError) -> Tensor {
    let none: Tensor? = nil
    return try causalOp(x, kernel.weight, kernel.prepared, bias, none, none, stride, true)
}

// MARK: - Convolutions to twice the height and width

extension PreparedKernel {
    /// Prepares a kernel [O, I, 3, 3] for `enlargingConv`.
    package static func enlarging(
        _ weight: Tensor,
        bias: Tensor
    ) throws(SwanError) -> PreparedKernel {
        PreparedKernel(weight, prepared: try enlargingWeightOp(weight, bias))
    }

    /// Prepares a kernel [4 O, I, 3, 3], with outputs grouped by pixel, for `subpixelConv`.
    package static func subpixel(
        _ weight: Tensor,
        bias: Tensor
    ) throws(SwanError) -> PreparedKernel {
        PreparedKernel(weight, prepared: try subpixelWeightOp(weight, bias))
    }
}

/// A 3x3 convolution of P parts [B, F, H, W, I] at twice their height and width (nearest-neighbor
/// upsampling) -> [B, F P, 2 H, 2 W, O], with frames taken from each part in turn. The large image
/// is never materialized.
package func enlargingConv(
    _ parts: [Tensor],
    _ kernel: PreparedKernel,
    _ bias: Tensor
) throws(SwanError) -> Tensor {
    try enlargingOp(parts, kernel.weight, kernel.prepared, bias)
}

/// A 3x3 convolution of P parts [B, F, H, W, I] to four times as many channels, which become the
/// four pixels of each input pixel -> [B, F P, 2 H, 2 W, O], with frames taken from each part in
/// turn; `bias` [4 O].
package func subpixelConv(
    _ parts: [Tensor],
    _ kernel: PreparedKernel,
    _ bias: Tensor
) throws(SwanError) -> Tensor {
    try subpixelOp(parts, kernel.weight, kernel.prepared, bias)
}

// MARK: - Pixels

/// x [..., C] normalized by its root mean square over C, times `gain` [C], then SiLU if `silu`, as
/// a new tensor; the root mean square is computed in float32, or in float64 if x is.
package func pixelNorm(_ x: Tensor, gain: Tensor, silu: Bool) throws(SwanError) -> Tensor {
    try pixelNormOp(x, gain, silu)
}

/// x [B, C, T, H, W] -> [B, T, H/p, W/p, C p p], in the order channel, column, row.
package func patches(_ x: Tensor, size: Int) throws(SwanError) -> Tensor {
    try toPatchesOp(x, size)
}

/// x [B, T, h, w, C p p], in the order channel, column, row -> [B, T, h p, w p, C].
package func pixels(ofPatches x: Tensor, size: Int) throws(SwanError) -> Tensor {
    try fromPatchesOp(x, size)
}
