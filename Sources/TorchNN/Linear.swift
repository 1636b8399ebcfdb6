import Torch

/// y = x W^T + b.
public struct Linear: Sendable {
    private let weight: Tensor
    private let bias: Tensor?

    /// The layer under a path: `weight` [outputs, inputs] and, unless `bias` is false, `bias` [outputs].
    public init(
        _ weights: Weights,
        _ inputs: Int,
        _ outputs: Int,
        bias: Bool = true
    ) throws(TorchError) {
        weight = try weights.tensor("weight", [outputs, inputs])
        self.bias = bias ? try weights.tensor("bias", [outputs]) : nil
    }

    /// A convolution whose kernel is its stride, as a matrix over flattened patches [inputs...].
    public init(
        convolution weights: Weights,
        _ inputs: [Int],
        _ outputs: Int
    ) throws(TorchError) {
        weight = try weights.tensor("weight", [outputs] + inputs).flattened(from: 1)
        bias = try weights.tensor("bias", [outputs])
    }

    /// Layers that read the same input as one, their outputs side by side.
    public init(
        fusing parts: [Weights],
        _ inputs: Int,
        _ outputs: Int,
        bias: Bool = true
    ) throws(TorchError) {
        var matrices: [Tensor] = []
        var offsets: [Tensor] = []
        for part in parts {
            matrices.append(try part.tensor("weight", [outputs, inputs]))
            if bias { offsets.append(try part.tensor("bias", [outputs])) }
        }
        weight = try concatenated(matrices)
        self.bias = bias ? try concatenated(offsets) : nil
    }

    /// x [..., inputs] -> [..., outputs].
    public func callAsFunction(_ x: Tensor) throws(TorchError) -> Tensor {
        try linear(x, weight, bias)
    }
}
