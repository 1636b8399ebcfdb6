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
            self = weight.isTileable ? .tiles(try tiledLinearWeight(weight)) : .ready(weight)
        }

        func weight(_ dtype: DType) throws(TorchError) -> Tensor {
            switch self {
            case .ready(let weight): try weight.to(dtype)
            case .tiles(let tiles): try plainLinearWeight(ofTiles: tiles).to(dtype)
            case .stored(let stored): try stored.weight(dtype)
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

    /// GELU (by tanh) of what the layer makes of x [..., inputs].
    public func gelu(_ x: Tensor) throws(TorchError) -> Tensor {
        if let tiles = tiles(for: x), additions.isEmpty {
            return try tiledLinear(x, tiles, bias, gelu: true)
        }
        return try self(x).gelu(tanh: true)
    }

    /// The layer's matrix in tiles, if that is what x is multiplied with.
    private func tiles(for x: Tensor) -> Tensor? {
        guard x.suitsTiles, bias?.requiresGrad != true, case .tiles(let tiles)? = matrices.first
        else {
            return nil
        }
        return tiles
    }

    /// x [..., inputs] -> [..., outputs].
    public func callAsFunction(_ x: Tensor) throws(TorchError) -> Tensor {
        if let tiles = tiles(for: x) {
            let y = try tiledLinear(x, tiles, bias)
            for (start, product) in additions { try product.add(to: y, from: start, x) }
            return y
        }
        let type = x.dtype.productType(on: x.device)
        let input = try x.to(type)
        let bias = try bias?.to(type)
        let y: Tensor
        if matrices.count == 1 {
            y = try linear(input, matrices[0].weight(type), bias)
        } else {
            let offsets = try bias?.chunked(matrices.count, dim: 0)
            var parts: [Tensor] = []
            for (index, matrix) in matrices.enumerated() {
                parts.append(try linear(input, matrix.weight(type), offsets?[index]))
            }
            y = try concatenated(parts, dim: -1)
        }
        for (start, product) in additions { try product.add(to: y, from: start, input) }
        return try y.to(x.dtype)
    }
}
