public import SwanSystem
public import Torch

/// A linear layer y = x W^T + b, in the dtype of x; the product is computed in `DType.productType`.
public struct Linear: Sendable {
    /// The matrix of all outputs, or several for consecutive outputs if fusing them would need a
    /// copy.
    private let matrices: [Matrix]
    private let bias: Tensor?
    /// The low-rank additions, each to the outputs from a column on.
    private let additions: [(start: Int, product: LowRankAddition)]

    /// A matrix prepared for the layer's device, or one as stored.
    private enum Matrix: Sendable {
        case prepared(Tensor)
        case stored(StoredWeight)

        /// Multiplies x by the matrix and adds a bias, followed by GELU if `gelu`.
        func product(with x: Tensor, _ bias: Tensor?, gelu: Bool) throws(SwanError) -> Tensor {
            switch self {
            case .prepared(let weight):
                return try preparedLinear(x, weight, bias, gelu: gelu)
            case .stored(let stored):
                // Blocks are converted for each product, one matrix at a time.
                let values =
                    stored.packing == nil ? stored.values : try stored.weight(x.dtype)
                return try storedLinear(
                    x,
                    values,
                    factor: stored.factor,
                    bias,
                    gelu: gelu
                )
            }
        }
    }

    /// Loads the layer under a path: `weight` [outputs, inputs] and, unless `bias` is false, `bias`
    /// [outputs].
    public init(
        _ weights: Weights,
        _ inputs: Int,
        _ outputs: Int,
        bias: Bool = true
    ) throws(SwanError) {
        try self.init(fusing: [weights], inputs, outputs, bias: bias)
    }

    /// Loads a convolution whose stride is its kernel size, as a matrix over flattened patches
    /// [inputs...].
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

    /// Loads layers that read the same input as one layer, with their outputs concatenated.
    ///
    /// On a CPU, weights that keep their storage stay separate: concatenating matrices of a mapped
    /// file would use the memory that mapping saves.
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

    /// Concatenates several matrices on a GPU, where they have been copied into its memory anyway.
    private static func fused(_ parts: [StoredWeight]) throws(SwanError) -> [StoredWeight] {
        guard parts.count > 1, let first = parts.first, first.values.device != .cpu,
            parts.allSatisfy({
                $0.factor == nil && $0.packing == nil && $0.values.dtype == first.values.dtype
            })
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

    /// GELU (tanh approximation) of the output for x [..., inputs].
    public func gelu(_ x: Tensor) throws(SwanError) -> Tensor {
        try apply(to: x, gelu: true)
    }

    private func apply(to x: Tensor, gelu: Bool) throws(SwanError) -> Tensor {
        let input = try x.asProductOperand()
        let offsets = try bias?.to(input.dtype).chunked(matrices.count, dim: 0)
        // GELU can be fused into the product only if nothing is added to it.
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
