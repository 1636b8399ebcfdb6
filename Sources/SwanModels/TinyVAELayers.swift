import SwanSystem
import Torch
import TorchNN

/// A convolution of every frame, followed by ReLU if `rectifies`.
struct TinyVAEConv: WanVAELayer {
    private let weight: Tensor
    private let bias: Tensor?
    private let stride: Int
    private let rectifies: Bool

    /// Creates the layer from a kernel [O, I, s, s] and a bias [O].
    init(_ weight: Tensor, _ bias: Tensor?, stride: Int = 1, rectifies: Bool = false)
        throws(SwanError)
    {
        self.weight = try weight.contiguous(.channelsLast)
        self.bias = bias
        self.stride = stride
        self.rectifies = rectifies
    }

    /// Loads the layer under a path.
    init(
        _ weights: Weights,
        _ inputs: Int,
        _ outputs: Int,
        size: Int = 3,
        hasBias: Bool = true,
        rectifies: Bool = false
    ) throws(SwanError) {
        try self.init(
            weights.tensor("weight", [outputs, inputs, size, size]),
            hasBias ? weights.tensor("bias", [outputs]) : nil,
            rectifies: rectifies
        )
    }

    func callAsFunction(_ x: Tensor, _ caches: inout FeatureCaches) throws(SwanError) -> Tensor {
        try self(x, caches.rows)
    }

    func callAsFunction(
        _ x: Tensor,
        _ rows: (any PictureRows)? = nil
    ) throws(SwanError) -> Tensor {
        let reach = weight.size(-1) / 2
        // With a stride, the rows above must be those of whole steps.
        let y = try seeing(rows, above: reach * stride, below: stride == 1 ? reach : 0, of: x) {
            x,
            _ throws(SwanError) in
            try convolved(x, weight, bias, stride: stride, padding: reach)
        }
        return rectifies ? try rectified(y) : y
    }
}

/// Three convolutions of a frame and the one before it, with a residual connection around them.
struct TinyVAEMemoryBlock: WanVAELayer {
    private let convs: [TinyVAEConv]

    init(_ weights: Weights, _ dim: Int) throws(SwanError) {
        let conv = weights["conv"]
        convs = [
            try TinyVAEConv(conv[0], 2 * dim, dim, rectifies: true),
            try TinyVAEConv(conv[2], dim, dim, rectifies: true),
            try TinyVAEConv(conv[4], dim, dim),
        ]
    }

    func callAsFunction(_ x: Tensor, _ caches: inout FeatureCaches) throws(SwanError) -> Tensor {
        var y = try caches.withFramesBefore(x)
        for conv in convs { y = try conv(y, caches.rows) }
        return try rectified(sum(y, x))
    }
}

/// The block of the larger decoder: a wide depthwise convolution and a wide pointwise layer.
struct TinyVAEWideBlock: WanVAELayer {
    private let depthwise: Tensor
    private let widen, narrow: TinyVAEConv

    init(_ weights: Weights, _ dim: Int) throws(SwanError) {
        let conv = weights["conv"]
        depthwise = try conv[0].tensor("weight", [2 * dim, 1, 7, 7])
        widen = try TinyVAEConv(conv[1], 2 * dim, 4 * dim, size: 1, rectifies: true)
        narrow = try TinyVAEConv(conv[3], 4 * dim, dim, size: 1, hasBias: false)
    }

    func callAsFunction(_ x: Tensor, _ caches: inout FeatureCaches) throws(SwanError) -> Tensor {
        let pairs = try caches.withFramesBefore(x)
        let y = try seeing(caches.rows, above: 3, below: 3, of: pairs) {
            pairs,
            _ throws(SwanError) in
            try convolved(pairs, depthwise, nil, padding: 3, groups: depthwise.size(0))
        }
        return try sum(narrow(widen(y)), x)
    }
}

/// Downsamples to half the height and width, and one frame of every `time`.
struct TinyVAEDownsample: WanVAELayer {
    private let time: Int
    private let conv: TinyVAEConv

    /// Loads a pointwise layer and a convolution that directly follows it, merged into one
    /// convolution.
    init(pool: Weights, conv: Weights, _ dim: Int, time: Int) throws(SwanError) {
        self.time = time
        let mix = try pool["conv"].tensor("weight", [dim, time * dim, 1, 1])
        let kernel = try conv.tensor("weight", [dim, dim, 3, 3])
        let joined = try matmul(
            kernel.permuted(2, 3, 0, 1).to(.float32),
            mix.flattened(from: 1).to(.float32)
        )  // [3, 3, O, time I]
        self.conv = try TinyVAEConv(joined.permuted(2, 3, 0, 1).to(kernel.dtype), nil, stride: 2)
    }

    func callAsFunction(_ x: Tensor, _ caches: inout FeatureCaches) throws(SwanError) -> Tensor {
        guard time > 1 else { return try conv(x, caches.rows) }
        let parts = try (0..<time).map { first throws(SwanError) in
            try x.sliced(1, first..<x.size(1), step: time)
        }
        return try conv(concatenated(parts, dim: -1), caches.rows)
    }
}

/// Upsamples to twice the height and width, and `time` frames for each one.
struct TinyVAEUpsample: WanVAELayer {
    private let grow: TinyVAEGrow
    private let conv: EnlargingConv

    /// - Parameter known: The number of frames that the weights produce from one; only the last
    ///   `time` of them are computed.
    init(grow: Weights, conv: Weights, _ inputs: Int, _ outputs: Int, time: Int, known: Int)
        throws(SwanError)
    {
        self.grow = try TinyVAEGrow(grow, inputs, time: time, known: known)
        self.conv = try EnlargingConv(
            conv.tensor("weight", [outputs, inputs, 3, 3]),
            bias: nil
        )
    }

    func callAsFunction(_ x: Tensor, _ caches: inout FeatureCaches) throws(SwanError) -> Tensor {
        // Pixels are upsampled after the pointwise layer, not before it.
        try seeing(caches.rows, above: 1, below: 1, of: x) { x, _ throws(SwanError) in
            try conv(grow(x))
        }
    }
}

/// The same in the larger decoder, where channels become pixels.
struct TinyVAEWideUpsample: WanVAELayer {
    private let conv: TinyVAEConv
    private let grow: TinyVAEGrow

    init(grow: Weights, conv: Weights, _ inputs: Int, _ outputs: Int, time: Int, known: Int)
        throws(SwanError)
    {
        let weight = try conv.tensor("weight", [4 * outputs, inputs, 3, 3])
        let bias = try conv.tensor("bias", [4 * outputs])
        self.conv = try TinyVAEConv(
            weight.inPatchOrder(dim: 0, 2),
            bias.inPatchOrder(dim: 0, 2),
            rectifies: true
        )
        self.grow = try TinyVAEGrow(grow, outputs, time: time, known: known)
    }

    func callAsFunction(_ x: Tensor, _ caches: inout FeatureCaches) throws(SwanError) -> Tensor {
        let parts = try grow(conv(x, caches.rows).outOfPatches(2))
        return parts.count == 1 ? parts[0] : try stacked(parts, dim: 2).flattened(from: 1, to: 2)
    }
}

/// Produces `time` frames from each one, by a pointwise layer.
struct TinyVAEGrow: Sendable {
    private let time: Int
    private let mix: TinyVAEConv

    init(_ weights: Weights, _ dim: Int, time: Int, known: Int) throws(SwanError) {
        self.time = time
        let weight = try weights["conv"].tensor("weight", [known * dim, dim, 1, 1])
        mix = try TinyVAEConv(weight.narrowed(0, (known - time) * dim, time * dim), nil)
    }

    /// The first, second ... frame produced from each.
    func callAsFunction(_ x: Tensor) throws(SwanError) -> [Tensor] {
        let y = try mix(x)
        return time == 1 ? [y] : try y.chunked(time, dim: -1)
    }
}

extension FeatureCaches {
    /// x [B, F, H, W, C] with every frame's channels followed by those of the frame before it: [B,
    /// F, H, W, 2 C].
    fileprivate mutating func withFramesBefore(_ x: Tensor) throws(SwanError) -> Tensor {
        let past = try prepending(1, to: x).narrowed(1, 0, x.size(1))
        return try concatenated([x, past], dim: -1)
    }
}

extension Tensor {
    /// Reorders the channels of patches from the checkpoints' order, channel, row, column, to that
    /// of `inPatches`.
    func inPatchOrder(dim: Int, _ p: Int) throws(SwanError) -> Tensor {
        guard p > 1 else { return self }
        let parts = try unflattened(dim, [size(dim) / (p * p), p, p])
        return try parts.transposed(dim + 1, dim + 2).flattened(from: dim, to: dim + 2)
    }
}

/// max(x, 0), in place if no gradient needs x.
private func rectified(_ x: Tensor) throws(SwanError) -> Tensor {
    guard !x.requiresGrad else { return try x.relu() }
    var result = x
    try result.applyRelu()
    return result
}

/// max(x, 0) as a layer.
struct TinyVAERectifier: WanVAELayer {
    func callAsFunction(_ x: Tensor, _ caches: inout FeatureCaches) throws(SwanError) -> Tensor {
        try rectified(x)
    }
}
