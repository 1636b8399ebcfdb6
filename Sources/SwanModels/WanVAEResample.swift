import SwanSystem
import Torch
import TorchNN

/// Downsamples to half the height and width, and half the frames if `time`.
struct WanVAEDownsample: WanVAELayer {
    private let weight, bias: Tensor
    private let timeConv: CausalConv3d?

    init(_ weights: Weights, _ dim: Int, time: Bool) throws(SwanError) {
        let conv = weights["resample"][1]
        weight = try conv.tensor("weight", [dim, dim, 3, 3]).contiguous(.channelsLast)
        bias = try conv.tensor("bias", [dim])
        timeConv =
            time
            ? try CausalConv3d(weights["time_conv"], dim, dim, frames: 3, size: 1, stride: 2) : nil
    }

    func callAsFunction(_ x: Tensor, _ caches: inout FeatureCaches) throws(SwanError) -> Tensor {
        let y = try halved(x, caches.rows)
        guard let timeConv else { return y }
        let joined = try caches.prependingLast(to: y)
        guard caches.isStart else { return try timeConv(joined) }
        // The video's first frame is unchanged; pairs of frames follow it.
        guard y.size(1) > 1 else { return y }
        return try concatenated([y.narrowed(1, 0, 1), timeConv(joined)], dim: 1)
    }

    private func halved(_ x: Tensor, _ rows: (any PictureRows)?) throws(SwanError) -> Tensor {
        let (part, top, bottom) = try rows?.extended(x, above: 0, below: 1) ?? (x, 0, 0)
        // One row and one column of zeros, at the bottom and right edges only.
        let padded = try part.padded([0, 0, 0, 1, 0, bottom == 0 ? 1 : 0])
        let y = try convolved(padded, weight, bias, stride: 2, padding: 0)
        return rows == nil ? y : try y.narrowed(2, top / 2, x.size(2) / 2)
    }
}

/// Upsamples to twice the height and width, and twice the frames if `time`.
struct WanVAEUpsample: WanVAELayer {
    /// How one pixel becomes four.
    private enum Enlargement {
        case nearest(EnlargingConv)
        case subpixel(SubpixelConv)
    }

    private let enlargement: Enlargement
    private let timeConvs: [CausalConv3d]

    init(
        _ weights: Weights,
        _ inputs: Int,
        _ outputs: Int,
        time: Bool,
        subpixel: Bool
    ) throws(SwanError) {
        let resample = weights["resample"][1]
        let channels = subpixel ? 4 * outputs : outputs
        let weight = try resample.tensor("weight", [channels, inputs, 3, 3])
        let bias = try resample.tensor("bias", [channels])
        enlargement =
            subpixel
            ? .subpixel(try SubpixelConv(weight, bias: bias))
            : .nearest(try EnlargingConv(weight, bias: bias))
        timeConvs =
            time ? try CausalConv3d.halves(weights["time_conv"], inputs, 2 * inputs) : []
    }

    func callAsFunction(_ x: Tensor, _ caches: inout FeatureCaches) throws(SwanError) -> Tensor {
        try seeing(caches.rows, above: 1, below: 1, of: x) { part, _ throws(SwanError) in
            try enlarged(part, &caches)
        }
    }

    private func enlarged(
        _ x: Tensor,
        _ caches: inout FeatureCaches
    ) throws(SwanError) -> Tensor {
        guard !timeConvs.isEmpty else { return try conv([x]) }
        // The video's first frame remains one frame, and the others do not see it.
        guard caches.isStart else { return try doubled(caches.prepending(2, to: x)) }
        let first = try x.narrowed(1, 0, 1)
        let joined = try caches.prepending(2, to: x.sliced(1, from: 1))
        guard x.size(1) > 1 else { return try conv([first]) }
        return try concatenated([conv([first]), doubled(joined)], dim: 1)
    }

    private func conv(_ parts: [Tensor]) throws(SwanError) -> Tensor {
        switch enlargement {
        case .nearest(let conv): try conv(parts)
        case .subpixel(let conv): try conv(parts)
        }
    }

    /// x [B, 2 + F, H, W, C] -> [B, 2 F, 2 H, 2 W, O]
    private func doubled(_ x: Tensor) throws(SwanError) -> Tensor {
        try conv([timeConvs[0](x), timeConvs[1](x)])
    }
}
