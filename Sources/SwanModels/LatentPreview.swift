package import Torch
package import SwanSystem

/// The cheapest preview of latents: every latent becomes a pixel, whose color is a linear map of
/// its channels.
///
/// The maps were fitted for previews by the authors of ComfyUI (comfy/latent_formats.py).
package struct LatentPreview: Sendable {
    /// Red, green and blue for each channel.
    package let factors: [[Double]]
    /// Red, green and blue of a latent of zeros, in [-1, 1].
    package let bias: [Double]

    /// Creates a custom map: a row of three numbers for each channel.
    ///
    /// Throws `invalidArgument` unless every row and the bias have three numbers.
    package init(factors: [[Double]], bias: [Double]) throws(SwanError) {
        guard !factors.isEmpty, bias.count == 3, factors.allSatisfy({ $0.count == 3 }) else {
            throw SwanError(
                .invalidArgument,
                "a preview's factors must be rows of red, green and blue, one for each channel"
            )
        }
        self.factors = factors
        self.bias = bias
    }

    private init(_ factors: [[Double]], _ bias: [Double]) {
        self.factors = factors
        self.bias = bias
    }

    /// The published map for a number of channels: 16 (Wan 2.1) or 48 (Wan 2.2); nil for others.
    package static func known(latentChannels: Int) -> LatentPreview? {
        [wan21, wan22].first { $0.factors.count == latentChannels }
    }

    /// Converts normalized latents to frames in [0, 1]: [1, z, F, h, w] -> [F, 3, h, w], in float32
    /// on the CPU.
    ///
    /// Each latent becomes one frame, even if it represents four.
    package func frames(of latents: Tensor) throws(SwanError) -> Tensor {
        let shape = latents.shape
        guard shape.count == 5, shape[0] == 1, shape[1] == factors.count else {
            throw SwanError(
                .invalidArgument,
                "a preview expects latents [1, \(factors.count), F, h, w], not \(shape)"
            )
        }
        let map = try Tensor(factors.flatMap { $0 }, [factors.count, 3]).to(.float32)
        let offset = try Tensor(bias, [3]).to(.float32)
        let x = try latents.selected(0, 0).to(.cpu).to(.float32).permuted(1, 2, 3, 0)
        let colors = try (matmul(x, map) + offset).permuted(0, 3, 1, 2)  // [F, 3, h, w]
        return try ((colors + 1) / 2).clamped(min: 0, max: 1).contiguous()
    }
}

// MARK: - Published maps

extension LatentPreview {
    /// The map for Wan 2.1's 16 channels, which Wan 2.2's 14B models share.
    package static let wan21 = LatentPreview(
        [
            [-0.1299, -0.1692, 0.2932], [0.0671, 0.0406, 0.0442], [0.3568, 0.2548, 0.1747],
            [0.0372, 0.2344, 0.1420], [0.0313, 0.0189, -0.0328], [0.0296, -0.0956, -0.0665],
            [-0.3477, -0.4059, -0.2925], [0.0166, 0.1902, 0.1975], [-0.0412, 0.0267, -0.1364],
            [-0.1293, 0.0740, 0.1636], [0.0680, 0.3019, 0.1128], [0.0032, 0.0581, 0.0639],
            [-0.1251, 0.0927, 0.1699], [0.0060, -0.0633, 0.0005], [0.3477, 0.2275, 0.2950],
            [0.1984, 0.0913, 0.1861],
        ],
        [-0.1835, -0.0868, -0.3360]
    )

    /// The map for the 48 channels of Wan 2.2 (TI2V-5B).
    package static let wan22 = LatentPreview(
        [
            [0.0119, 0.0103, 0.0046], [-0.1062, -0.0504, 0.0165], [0.0140, 0.0409, 0.0491],
            [-0.0813, -0.0677, 0.0607], [0.0656, 0.0851, 0.0808], [0.0264, 0.0463, 0.0912],
            [0.0295, 0.0326, 0.0590], [-0.0244, -0.0270, 0.0025], [0.0443, -0.0102, 0.0288],
            [-0.0465, -0.0090, -0.0205], [0.0359, 0.0236, 0.0082], [-0.0776, 0.0854, 0.1048],
            [0.0564, 0.0264, 0.0561], [0.0006, 0.0594, 0.0418], [-0.0319, -0.0542, -0.0637],
            [-0.0268, 0.0024, 0.0260], [0.0539, 0.0265, 0.0358], [-0.0359, -0.0312, -0.0287],
            [-0.0285, -0.1032, -0.1237], [0.1041, 0.0537, 0.0622], [-0.0086, -0.0374, -0.0051],
            [0.0390, 0.0670, 0.2863], [0.0069, 0.0144, 0.0082], [0.0006, -0.0167, 0.0079],
            [0.0313, -0.0574, -0.0232], [-0.1454, -0.0902, -0.0481], [0.0714, 0.0827, 0.0447],
            [-0.0304, -0.0574, -0.0196], [0.0401, 0.0384, 0.0204], [-0.0758, -0.0297, -0.0014],
            [0.0568, 0.1307, 0.1372], [-0.0055, -0.0310, -0.0380], [0.0239, -0.0305, 0.0325],
            [-0.0663, -0.0673, -0.0140], [-0.0416, -0.0047, -0.0023], [0.0166, 0.0112, -0.0093],
            [-0.0211, 0.0011, 0.0331], [0.1833, 0.1466, 0.2250], [-0.0368, 0.0370, 0.0295],
            [-0.3441, -0.3543, -0.2008], [-0.0479, -0.0489, -0.0420], [-0.0660, -0.0153, 0.0800],
            [-0.0101, 0.0068, 0.0156], [-0.0690, -0.0452, -0.0927], [-0.0145, 0.0041, 0.0015],
            [0.0421, 0.0451, 0.0373], [0.0504, -0.0483, -0.0356], [-0.0837, 0.0168, 0.0055],
        ],
        [0.0317, -0.0878, -0.1388]
    )
}
