package import SwanSystem
package import Torch

/// The best linear code of clips at an autoencoder's strides: principal components of its patches.
///
/// This is the baseline that a network has to beat. As in Wan's autoencoders, a clip's first frame
/// stands alone: it is coded as a patch of identical frames.
package struct PatchCode {
    /// The size of the patch that becomes one latent, and the number of its channels.
    package struct Size: Equatable, Sendable {
        /// Frames per patch.
        let frames: Int
        /// Rows and columns of a patch.
        let side: Int
        /// Channels of the code.
        let channels: Int

        package init(frames: Int, side: Int, channels: Int) {
            self.frames = frames
            self.side = side
            self.channels = channels
        }
    }

    private let size: Size
    private let components: PrincipalComponents

    /// Computes the optimal code for `clips` [T, 3, H, W], uint8.
    package init(of clips: [Tensor], _ size: Size) throws(SwanError) {
        self.size = size
        let channels = size.frames * 3 * size.side * size.side
        var sum = try Tensor.zeros([channels], .float64)
        var products = try Tensor.zeros([channels, channels], .float64)
        var count = 0
        for clip in clips {
            for group in try Self.groups(clip, size) {
                let rows = try Self.patches(group, size)
                // Float32 within a group and float64 across groups, since a long clip has many
                // patches.
                try sum.add(rows.sum([0]).to(.float64))
                try products.add(matmul(rows.transposed(0, 1), rows).to(.float64))
                count += rows.size(0)
            }
        }
        let mean = try sum / Double(max(1, count))
        let square = try matmul(mean.unsqueezed(1), mean.unsqueezed(0))
        components = try PrincipalComponents(
            mean: mean,
            covariance: products / Double(max(1, count)) - square,
            count: size.channels
        )
    }

    /// Returns the mean squared error of reconstructing a clip [1 + n F, 3, H, W], uint8; 1 is the
    /// error of white for black.
    package func squaredError(of clip: Tensor) throws(SwanError) -> Double {
        var sum = 0.0
        for (index, group) in try Self.groups(clip, size).enumerated() {
            let rows = try Self.patches(group, size)
            let back = try components.vectors(at: components.coordinates(of: rows))
            let errors = try (back.clamped(min: -0.5, max: 0.5) - rows).pow(2)
                .reshaped(rows.size(0), size.frames, -1).mean([0, 2])  // [frames]
            let counted = try errors.sliced(0, from: index == 0 ? size.frames - 1 : 0)
            sum += try counted.sum().item()
        }
        return sum / Double(clip.size(0))
    }

    /// Splits the clip into groups of a patch's frames; the first group repeats the first frame.
    private static func groups(_ clip: Tensor, _ size: Size) throws(SwanError) -> [Tensor] {
        var groups = [try clip.sliced(0, 0..<1).repeated([size.frames, 1, 1, 1])]
        for part in 0..<((clip.size(0) - 1) / size.frames) {
            groups.append(try clip.narrowed(0, 1 + part * size.frames, size.frames))
        }
        return groups
    }

    /// Returns the patches of frames [F, 3, H, W], uint8 -> [N, F 3 side side], centered at 0.
    private static func patches(_ frames: Tensor, _ size: Size) throws(SwanError) -> Tensor {
        let (rows, columns) = (frames.size(2) / size.side, frames.size(3) / size.side)
        let split = try frames.to(.float32).reshaped(
            size.frames,
            3,
            rows,
            size.side,
            columns,
            size.side
        )
        let patches = try split.permuted(2, 4, 0, 1, 3, 5)  // [rows, columns, F, 3, side, side]
        return try patches.reshaped(rows * columns, -1) * (1 / 255) - 0.5
    }
}
