import Foundation
import Torch

/// A table of vectors, one for each token.
public struct Embedding: Sendable {
    private let table: Tensor

    /// The table under a path: `weight` [count, dim].
    public init(_ weights: Weights, _ count: Int, _ dim: Int) throws(TorchError) {
        table = try weights.tensor("weight", [count, dim])
    }

    /// Where the table is, and with it where ids have to be.
    public var device: Device { table.device }

    /// Integer ids [...] -> [..., dim].
    public func callAsFunction(_ ids: Tensor) throws(TorchError) -> Tensor {
        try embedding(table, ids)
    }
}

/// Sines and cosines of a position at geometrically spaced frequencies: [n] -> [n, dim], cosines first.
///
/// Attention Is All You Need, section 3.5; computed in float64 as in Wan (wan/modules/model.py).
public func sinusoidalEmbedding(_ positions: Tensor, dim: Int) throws(TorchError) -> Tensor {
    let half = dim / 2
    let exponent =
        try Tensor.arange(0, Double(half), .float64, positions.device) * (-1 / Double(half))
    let frequencies = try exponent * log(10_000.0)
    let angles = try positions.to(.float64).unsqueezed(1) * frequencies.exp()
    return try concatenated([angles.cos(), angles.sin()], dim: 1)
}
