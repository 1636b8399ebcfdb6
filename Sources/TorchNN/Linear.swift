import Torch

/// y = x W^T + b, in the dtype of x; the product is taken in `DType.productType`.
public struct Linear: Sendable {
    /// The matrix of all outputs; or, where a copy is to be avoided, one for each run of them.
    private let matrices: [Matrix]
    private let bias: Tensor?
    /// What is added to the outputs from a column on.
    private let additions: [(start: Int, product: LowRankAddition)]

    /// A matrix in the dtype of the layer's inputs, the same in tiles, or one as it is stored.
    private enum Matrix: Sendable {
        case ready(Tensor)
        case tiles(Tensor)
        case stored(StoredWeight)

        init(_ weight: Tensor) throws(TorchError) {
            let fits = weight.suitsTiles && weight.hasWholeTiles
            self = fits ? .tiles(try tiledLinearWeight(weight)) : .ready(weight)
        }

        /// x times the matrix plus a bias, then GELU if `gelu`.
        func product(with x: Tensor, _ bias: Tensor?, gelu: Bool) throws(TorchError) -> Tensor {
            if x.suitsTiles, bias?.requiresGrad != true, let tiles = try tiles(for: x) {
                return try tiledLinear(x, tiles, bias, gelu: gelu)
            }
            let y = try linear(x, weight(x.dtype), bias)
            return gelu ? try y.gelu(tanh: true) : y
        }

        private func weight(_ dtype: DType) throws(TorchError) -> Tensor {
            switch self {
            case .ready(let weight): try weight.to(dtype)
            case .tiles(let tiles): try plainLinearWeight(ofTiles: tiles).to(dtype)
            case .stored(let stored): try stored.weight(dtype)
            }
        }

        private func tiles(for x: Tensor) throws(TorchError) -> Tensor? {
            switch self {
            case .ready: return nil
            case .tiles(let tiles): return tiles
            case .stored(let stored):
                // To lay out a matrix, some 20 ms for the largest, pays for one product of so many rows.
                let isWorthwhile = x.count >= 4_096 * x.size(-1)
                return isWorthwhile && stored.values.hasWholeTiles
                    ? try tiledLinearWeight(stored.weight(x.dtype)) : nil
            }
        }
    }

    /// The layer under a path: `weight` [outputs, inputs] and, unless `bias` is false, `bias` [outputs].
    public init(
        _ weights: Weights,
        _ inputs: Int,
        _ outputs: Int,
        bias: Bool = true
    ) throws(TorchError) {
        try self.init(fusing: [weights], inputs, outputs, bias: bias)
    }

    /// A convolution whose kernel is its stride, as a matrix over flattened patches [inputs...].
    public init(
        convolution weights: Weights,
        _ inputs: [Int],
        _ outputs: Int
    ) throws(TorchError) {
        let kernel = try weights.tensor("weight", [outputs] + inputs)
        matrices = [try Matrix(kernel.flattened(from: 1))]
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
    ) throws(TorchError) {
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
        let ready = plain.isEmpty ? [] : [try Matrix(Self.joined(plain))]
        matrices = try ready + Self.fused(stored).map { .stored($0) }
        self.bias = bias ? try Self.joined(offsets) : nil
        self.additions = additions
    }

    /// One matrix of several on a GPU, whose memory they have been copied into anyway.
    private static func fused(_ parts: [StoredWeight]) throws(TorchError) -> [StoredWeight] {
        guard parts.count > 1, let first = parts.first, first.values.device != .cpu,
            parts.allSatisfy({ $0.factor == nil && $0.values.dtype == first.values.dtype })
        else { return parts }
        return [StoredWeight(try concatenated(parts.map(\.values)))]
    }

    private static func joined(_ parts: [Tensor]) throws(TorchError) -> Tensor {
        parts.count == 1 ? parts[0] : try concatenated(parts)
    }

    /// x [..., inputs] -> [..., outputs].
    public func callAsFunction(_ x: Tensor) throws(TorchError) -> Tensor {
        try apply(to: x, gelu: false)
    }

    /// GELU (by tanh) of what the layer makes of x [..., inputs].
    public func gelu(_ x: Tensor) throws(TorchError) -> Tensor {
        try apply(to: x, gelu: true)
    }

    private func apply(to x: Tensor, gelu: Bool) throws(TorchError) -> Tensor {
        let type = x.dtype.productType(on: x.device)
        let input = try x.to(type)
        let offsets = try bias?.to(type).chunked(matrices.count, dim: 0)
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
