import Foundation
public import SwanSystem
public import Torch

/// A table of vectors, one for each token.
public struct Embedding: Sendable {
    private let table: StoredWeight
    private let dtype: DType

    /// Loads the table under a path: `weight` [count, dim].
    public init(_ weights: Weights, _ count: Int, _ dim: Int) throws(SwanError) {
        table =
            weights.keepsStorage
            ? try weights.stored("weight", [count, dim])
            : StoredWeight(try weights.tensor("weight", [count, dim]))
        dtype = weights.dtype
    }

    /// The device of the table, where ids must be too.
    public var device: Device { table.values.device }

    /// Looks up integer ids [...] -> [..., dim].
    public func callAsFunction(_ ids: Tensor) throws(SwanError) -> Tensor {
        try table.rows(at: ids, dtype)
    }
}

/// The sinusoidal embedding of positions at geometrically spaced frequencies: [n] -> [n, dim],
/// cosines first.
///
/// Attention Is All You Need, section 3.5; computed in float64 as in Wan (wan/modules/model.py).
public func sinusoidalEmbedding(_ positions: Tensor, dim: Int) throws(SwanError) -> Tensor {
    let half = dim / 2
    let exponent =
        try Tensor.arange(0, Double(half), .float64, positions.device) * (-1 / Double(half))
    let frequencies = try exponent * log(10_000.0)
    let angles = try positions.to(.float64).unsqueezed(1) * frequencies.exp()
    return try concatenated([angles.cos(), angles.sin()], dim: 1)
}
