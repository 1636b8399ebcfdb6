package import SwanSystem
package import Torch
package import TorchNN

/// A student and what lies between its channels C and those of the autoencoder, Z.
///
/// With as many channels there is nothing between them. Otherwise latents are raised by a matrix
/// with orthonormal columns [Z, C] and lowered by its transpose, and a 1x1 convolution, which is
/// trained, makes the flow of all Z channels from the student's output.
package struct ProjectedStudent: Sendable {
    /// The student.
    package let network: LiteStudent2D
    /// [Z, C]; nil if there are as many channels, and in students as published.
    private let lift: Tensor?
    private let weight, bias: Tensor?
    /// Where the weights are.
    package let device: Device

    /// The path of the student's weights, and of the convolution's.
    package static let paths = (student: "student", output: "output_proj")

    /// Builds a student from weights under the two paths.
    ///
    /// - Parameters:
    ///   - latentChannels: Z.
    ///   - lift: The matrix that raises latents [Z, C]; nil if they are not raised.
    package init(
        _ weights: Weights,
        _ config: LiteStudentConfig,
        latentChannels: Int,
        lift: Tensor?
    ) throws(SwanError) {
        device = weights.device
        network = try LiteStudent2D(weights[Self.paths.student], config)
        self.lift = try lift?.to(weights.device, weights.dtype)
        guard config.channels != latentChannels else {
            (weight, bias) = (nil, nil)
            return
        }
        let output = weights[Self.paths.output]
        weight = try output.tensor("weight", [latentChannels, config.channels, 1, 1])
        bias = try output.tensor("bias", [latentChannels])
    }

    /// Latents [B, Z, H, W] in the student's channels [B, C, H, W].
    package func lowered(_ latents: Tensor) throws(SwanError) -> Tensor {
        guard let lift else { return latents }
        return try Self.product(lift.transposed(0, 1), latents)
    }

    /// Latents in the student's channels [B, C, H, W] in those of the autoencoder [B, Z, H, W].
    package func raised(_ latents: Tensor) throws(SwanError) -> Tensor {
        guard let lift else { return latents }
        return try Self.product(lift, latents)
    }

    /// The convolution after the student: [B, C, H, W] -> [B, Z, H, W].
    package func output(_ x: Tensor) throws(SwanError) -> Tensor {
        guard let weight, let bias else { return x }
        return try conv2d(x, weight, bias)
    }

    /// Predicts the flow [B, Z, H, W] of latents in the student's channels [B, C, H, W]; for the
    /// parameters see `LiteStudent2D`.
    package func flow(
        _ latents: Tensor,
        timesteps: Tensor,
        text: Tensor,
        recomputing: Bool = false
    ) throws(SwanError) -> Tensor {
        try output(network(latents, timesteps: timesteps, text: text, recomputing: recomputing))
    }

    /// A matrix [O, I] times the channels of x [B, I, H, W].
    private static func product(_ matrix: Tensor, _ x: Tensor) throws(SwanError) -> Tensor {
        let (rows, height, width) = (x.size(0), x.size(2), x.size(3))
        return try matmul(matrix.to(x.dtype), x.flattened(from: 2))
            .reshaped(rows, matrix.size(0), height, width)
    }
}
