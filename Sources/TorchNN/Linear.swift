public import SwanSystem
public import Torch

/// y = x W^T + b, in the dtype of x; the product is taken in `DType.productType`.
public struct Linear: Sendable {
    /// The matrix of all outputs; or, where a copy is to be avoided, one for each run of them.
    private let matrices: [Matrix]
    private let bias: Tensor?
    /// What is added to the outputs from a column on.
    private let additions: [(start: Int, product: LowRankAddition)]

    /// A matrix that was prepared for the layer's device, or one as it is stored.
    private enum Matrix: Sendable {
        case prepared(Tensor)
        case stored(StoredWeight)

        /// x times the matrix plus a bias, then GELU if `gelu`.
        func product(with x: Tensor, _ bias: Tensor?, gelu: Bool) throws(SwanError) -> Tensor {
            switch self {
            case .prepared(let weight):
                return try preparedLinear(x, weight, bias, gelu: gelu)
            case .stored(let stored):
                return try storedLinear(
                    x,
                    stored.values,
                    factor: stored.factor,
                    bias,
                    gelu: gelu
                )
            }
        }
    }

    /// The layer under a path: `weight` [outputs, inputs] and, unless `bias` is false, `bias` [outputs].
    public init(
        _ weights: Weights,
        _ inputs: Int,
        _ outputs: Int,
        bias: Bool = true
    ) throws(SwanError) {
        try self.init(fusing: [weights], inputs, outputs, bias: bias)
    }

    /// A convolution whose kernel is its stride, as a matrix over flattened patches [inputs...].
    public init(
        convolution weights: Weights,
        _ inputs: [Int],
        _ outputs: Int
    ) throws(SwanError) {
        let kernel = try weights.tensor("weight", [outputs] + inputs)
        matrices = [.prepared(try kernel.flattened(from: 1).preparedForLinear())]
        bias = try weights.tensor("bias", [outputs])
        additions = try weights.additions("weight").map { (0, $0) }
    }

    /// Layers that read the same input as one, their outputs side by side.
    ///
    /// Of weights that keep their storage they stay apart on a CPU: to put matrices of a mapped file
    /// side by side would take the memory that the mapping saves.
    public init(
        fusing parts: [Weights],
        _ inputs: Int,
        _ outputs: Int,
        bias: Bool = true
    ) throws(SwanError) {
        var stored: [StoredWeight] = []
        var plain: [Tensor] = []
        var offsets: [Tensor] = []
        var additions: [(Int, LowRankAddition)] = []
        for (index, part) in parts.enumerated() {
            if part.keepsStorage {
                stored.append(try part.stored("weight", [outputs, inputs]))
            } else {
                plain.append(try part.tensor("weight", [outputs, inputs]))
            }
            if bias { offsets.append(try part.tensor("bias", [outputs])) }
            for product in try part.additions("weight") {
                additions.append((index * outputs, product))
            }
        }
        let ready =
            plain.isEmpty ? [] : [Matrix.prepared(try Self.joined(plain).preparedForLinear())]
        matrices = try ready + Self.fused(stored).map { .stored($0) }
        self.bias = bias ? try Self.joined(offsets) : nil
        self.additions = additions
    }

    /// One matrix of several on a GPU, whose memory they have been copied into anyway.
    private static func fused(_ parts: [StoredWeight]) throws(SwanError) -> [StoredWeight] {
        guard parts.count > 1, let first = parts.first, first.values.device != .cpu,
            parts.allSatisfy({ $0.factor == nil && $0.values.dtype == first.values.dtype })
        else { return parts }
        return [StoredWeight(try concatenated(parts.map(\.values)))]
    }

    private static func joined(_ parts: [Tensor]) throws(SwanError) -> Tensor {
        parts.count == 1 ? parts[0] : try concatenated(parts)
    }

    /// x [..., inputs] -> [..., outputs].
    public func callAsFunction(_ x: Tensor) throws(SwanError) -> Tensor {
        try apply(to: x, gelu: false)
    }

    /// GELU (by tanh) of the output for x [..., inputs].
    public func gelu(_ x: Tensor) throws(SwanError) -> Tensor {
        try apply(to: x, gelu: true)
    }

    private func apply(to x: Tensor, gelu: Bool) throws(SwanError) -> Tensor {
        let input = try x.asProductOperand()
        let offsets = try bias?.to(input.dtype).chunked(matrices.count, dim: 0)
        // GELU of a part is only what is asked for where nothing is added to it.
        let isWhole = additions.isEmpty
        var parts: [Tensor] = []
        for (index, matrix) in matrices.enumerated() {
            parts.append(try matrix.product(with: input, offsets?[index], gelu: gelu && isWhole))
        }
        let y = parts.count == 1 ? parts[0] : try concatenated(parts, dim: -1)
        for (start, product) in additions { try product.add(to: y, from: start, input) }
        return try (gelu && !isWhole ? y.gelu(tanh: true) : y).to(x.dtype)
    }
}
