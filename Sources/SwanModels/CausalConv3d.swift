import Torch
import TorchNN

/// A convolution over frames, rows and columns that sees only the present and earlier frames.
///
/// Videos lie as [B, F, H, W, C] with the channels side by side. Where nothing is recorded for
/// gradients, 3x3x3 kernels run on a CPU in float32 by Winograd's filtering, and in bfloat16 by the
/// processor's tiles if it has them. Elsewhere a kernel of three frames is one two-dimensional
/// convolution over three frames' channels stacked, on a CPU in many sizes several times faster than
/// libtorch's three-dimensional convolution.
struct CausalConv3d: Sendable {
    /// Frames the kernel covers.
    private let frames: Int
    private let stride: Int
    /// [O, I, frames, size, size], as in the checkpoint.
    private let weight: Tensor
    private let form: Form
    private let bias: Tensor

    /// The kernel as it is used where nothing is recorded for gradients.
    private enum Form {
        /// Three frames' channels stacked.
        case stacked(Tensor)
        case winograd(Tensor)
        case tiles(Tensor)
    }

    /// The layer under a path: `weight` [outputs, inputs, frames, size, size], `bias` [outputs].
    ///
    /// - Parameter stride: the step from one output frame to the next.
    init(
        _ weights: Weights,
        _ inputs: Int,
        _ outputs: Int,
        frames: Int = 3,
        size: Int = 3,
        stride: Int = 1
    ) throws(TorchError) {
        try self.init(
            weight: weights.tensor("weight", [outputs, inputs, frames, size, size]),
            bias: weights.tensor("bias", [outputs]),
            stride: stride
        )
    }

    /// The layer of a kernel [outputs, inputs, frames, size, size] and a bias [outputs].
    private init(weight: Tensor, bias: Tensor, stride: Int) throws(TorchError) {
        frames = weight.size(2)
        self.stride = stride
        self.weight = weight
        self.bias = bias
        let isCube = weight.shape.dropFirst(2).allSatisfy { $0 == 3 } && stride == 1
        // Below so many channels going into and out of a form costs more than it saves.
        if isCube, weight.size(1) >= 8, weight.suitsFrameKernels {
            form = .winograd(try winogradWeight(weight))
        } else if isCube, weight.size(1) >= 16, weight.suitsTiles {
            form = .tiles(try tiledConvolutionWeight(weight))
        } else {
            form = .stacked(try Self.stacked(weight))
        }
    }

    /// x [B, F, H, W, I] -> [B, F, H, W, O] plus `residual`; frames before x come from the caches.
    func callAsFunction(
        _ x: Tensor,
        _ caches: inout FeatureCaches,
        adding residual: Tensor? = nil
    ) throws(TorchError) -> Tensor {
        if !x.requiresGrad, !bias.requiresGrad, residual?.requiresGrad != true {
            switch form {
            case .stacked: break
            case .winograd(let kernel):
                return try caches.withFront(2, of: x) { front throws(TorchError) in
                    try winogradConvolution(front, x, kernel, bias, residual: residual)
                }
            case .tiles(let kernel):
                return try caches.withFront(2, of: x) { front throws(TorchError) in
                    try tiledConvolution(front, x, kernel, bias, residual: residual)
                }
            }
        }
        let result = try self(frames == 1 ? x : caches.prepending(frames - 1, to: x))
        guard let residual else { return result }
        return try sum(result, residual)
    }

    /// x [B, F, H, W, I], of which every output frame sees as many as the kernel covers.
    func callAsFunction(_ x: Tensor) throws(TorchError) -> Tensor {
        let kernel: Tensor
        if case .stacked(let ready) = form {
            kernel = ready
        } else {
            kernel = try Self.stacked(weight)
        }
        return try convolved(stackedFrames(x), kernel, bias, padding: weight.size(-1) / 2)
    }

    /// [O, I, f, s, s] -> [O, f I, s, s]
    private static func stacked(_ weight: Tensor) throws(TorchError) -> Tensor {
        let size = weight.size(-1)
        return try weight.transposed(1, 2).reshaped(weight.size(0), -1, size, size)
            .contiguous(.channelsLast)
    }

    private func stackedFrames(_ x: Tensor) throws(TorchError) -> Tensor {
        guard frames > 1 else { return x }
        let outputs = (x.size(1) - frames) / stride + 1
        var parts: [Tensor] = []
        for offset in 0..<frames {
            let range = offset..<(offset + (outputs - 1) * stride + 1)
            parts.append(try x.sliced(1, range, step: stride))
        }
        return try concatenated(parts, dim: -1)  // [B, F', H, W, 3 I]
    }
}

/// A two-dimensional convolution of every frame: x [B, F, H, W, I] -> [B, F, H', W', O].
func convolved(
    _ x: Tensor,
    _ weight: Tensor,
    _ bias: Tensor?,
    stride: Int = 1,
    padding: Int,
    groups: Int = 1
) throws(TorchError) -> Tensor {
    let images = try x.flattened(from: 0, to: 1).permuted(0, 3, 1, 2)
    let result = try conv2d(
        images,
        weight,
        bias,
        stride: [stride, stride],
        padding: [padding, padding],
        groups: groups
    )
    return try result.permuted(0, 2, 3, 1).unflattened(0, [x.size(0), x.size(1)])
}

extension CausalConv3d {
    /// A kernel of three frames and one pixel with its outputs cut in two: the layers that make the
    /// even and the odd frames when frames are doubled.
    static func halves(
        _ weights: Weights,
        _ inputs: Int,
        _ outputs: Int
    ) throws(TorchError) -> [CausalConv3d] {
        let weight = try weights.tensor("weight", [outputs, inputs, 3, 1, 1])
        let bias = try weights.tensor("bias", [outputs])
        return try [0, outputs / 2].map { start throws(TorchError) in
            try CausalConv3d(
                weight: weight.narrowed(0, start, outputs / 2),
                bias: bias.narrowed(0, start, outputs / 2),
                stride: 1
            )
        }
    }
}
