public import SwanSystem

private let matmulOp = Operator("aten::matmul")
private let linearOp = Operator("aten::linear")
private let eighOp = Operator("aten::linalg_eigh")
private let attentionOp = Operator("aten::scaled_dot_product_attention")
private let layerNormOp = Operator("aten::layer_norm")
private let rmsNormOp = Operator("aten::rms_norm")
private let conv2dOp = Operator("aten::conv2d")
private let conv3dOp = Operator("aten::conv3d")
private let pixelShuffleOp = Operator("aten::pixel_shuffle")
private let upsampleNearestExact2dOp = Operator("aten::_upsample_nearest_exact2d")
private let resizeAntialiasedOp = Operator("aten::_upsample_bilinear2d_aa")
private let resizeBilinearOp = Operator("aten::upsample_bilinear2d")
private let resizeBicubicOp = Operator("aten::upsample_bicubic2d")
private let gridSampler2dOp = Operator("aten::grid_sampler_2d")
private let avgPool2dOp = Operator("aten::avg_pool2d")
private let maxPool2dOp = Operator("aten::max_pool2d")

/// The matrix product over the last two dimensions.
public func matmul(_ a: Tensor, _ b: Tensor) throws(SwanError) -> Tensor { try matmulOp(a, b) }

/// x [..., I] times the transpose of `weight` [O, I], plus `bias` [O].
public func linear(
    _ x: Tensor,
    _ weight: Tensor,
    _ bias: Tensor? = nil
) throws(SwanError) -> Tensor {
    try linearOp(x, weight, bias)
}

/// The engine's fused attention: query, key, value [B, N, L, D]; `mask` broadcasts to [B, N, Lq, Lk].
public func scaledDotProductAttention(
    _ query: Tensor,
    _ key: Tensor,
    _ value: Tensor,
    mask: Tensor? = nil,
    scale: Double? = nil
) throws(SwanError) -> Tensor {
    try attentionOp(query, key, value, mask, 0.0, false, scale)
}

/// Normalizes the last dimension to mean 0 and variance 1, then applies `weight` and `bias`.
public func layerNorm(
    _ x: Tensor,
    weight: Tensor? = nil,
    bias: Tensor? = nil,
    eps: Double
) throws(SwanError) -> Tensor {
    try layerNormOp(x, [x.size(-1)], weight, bias, eps, false)
}

/// Divides the last dimension by its root mean square, then applies `weight`.
public func rmsNorm(_ x: Tensor, weight: Tensor?, eps: Double) throws(SwanError) -> Tensor {
    try rmsNormOp(x, [x.size(-1)], weight, eps)
}

/// A two-dimensional convolution of x [B, C, H, W].
///
/// - Parameter groups: The number of groups of channels that are convolved separately.
public func conv2d(
    _ x: Tensor,
    _ weight: Tensor,
    _ bias: Tensor? = nil,
    stride: [Int] = [1, 1],
    padding: [Int] = [0, 0],
    groups: Int = 1
) throws(SwanError) -> Tensor {
    try conv2dOp(x, weight, bias, stride, padding, [1, 1], groups)
}

/// A three-dimensional convolution of x [B, C, F, H, W].
public func conv3d(
    _ x: Tensor,
    _ weight: Tensor,
    _ bias: Tensor? = nil,
    stride: [Int] = [1, 1, 1],
    padding: [Int] = [0, 0, 0]
) throws(SwanError) -> Tensor {
    try conv3dOp(x, weight, bias, stride, padding, [1, 1, 1], 1)
}

extension Tensor {
    /// Nearest-neighbor upsampling of [B, C, H, W] to twice the height and width.
    public func upsampledNearest2x() throws(SwanError) -> Tensor {
        let scale: Double? = nil
        return try upsampleNearestExact2dOp(self, [size(-2) * 2, size(-1) * 2], scale, scale)
    }

    /// [B, C r r, H, W] -> [B, C, H r, W r], with the channel order of `torch.nn.PixelShuffle`.
    public func pixelShuffled(_ factor: Int) throws(SwanError) -> Tensor {
        try pixelShuffleOp(self, factor)
    }

    /// Resizes [B, C, H, W] with a triangle filter, widened when downsampling (antialiasing).
    ///
    /// As `torch.nn.functional.interpolate(mode: bilinear, antialias: true, align_corners: false)`.
    public func resizedAntialiased(height: Int, width: Int) throws(SwanError) -> Tensor {
        let scale: Double? = nil
        return try resizeAntialiasedOp(self, [height, width], false, scale, scale)
    }

    /// Resizes [B, C, H, W] by bilinear interpolation of the four nearest pixels.
    public func resizedBilinear(height: Int, width: Int) throws(SwanError) -> Tensor {
        let scale: Double? = nil
        return try resizeBilinearOp(self, [height, width], false, scale, scale)
    }

    /// Resizes [B, C, H, W] by bicubic interpolation of the sixteen nearest pixels (a = -0.75).
    ///
    /// As `torch.nn.functional.interpolate(mode: bicubic, align_corners: false)`: without
    /// antialiasing, and values may exceed the range of the pixels.
    public func resizedBicubic(height: Int, width: Int) throws(SwanError) -> Tensor {
        let scale: Double? = nil
        return try resizeBicubicOp(self, [height, width], false, scale, scale)
    }

    /// Samples [B, C, H, W] at the positions `grid` [B, h, w, 2] as (x, y), with borders at -1 and
    /// 1: [B, C, h, w].
    ///
    /// As `torch.nn.functional.grid_sample(mode: bilinear, padding_mode: reflection)`.
    public func sampledBilinear(at grid: Tensor) throws(SwanError) -> Tensor {
        let (bilinear, reflection) = (0, 2)
        return try gridSampler2dOp(self, grid, bilinear, reflection, false)
    }

    /// The mean over windows of `size` by `size`; positions beyond the border are not counted.
    public func averagePooled2d(
        _ size: Int,
        stride: Int,
        padding: Int = 0
    ) throws(SwanError) -> Tensor {
        try avgPool2dOp(
            self,
            [size, size],
            [stride, stride],
            [padding, padding],
            false,
            false
        )
    }

    /// The maximum over windows of `size` by `size`.
    public func maxPooled2d(_ size: Int, stride: Int, padding: Int = 0) throws(SwanError) -> Tensor
    {
        try maxPool2dOp(self, [size, size], [stride, stride], [padding, padding])
    }

    /// The eigenvalues (ascending) and eigenvectors (columns) of a symmetric matrix.
    public func symmetricEigen() throws(SwanError) -> (values: Tensor, vectors: Tensor) {
        let results = try eighOp.tensors(self, "L")
        return (results[0], results[1])
    }
}
