public import SwanSystem
public import Torch

/// Layer normalization over the last dimension, with or without weight and bias.
public struct LayerNorm: Sendable {
    private let weight, bias: Tensor?
    private let eps: Double

    /// Loads the layer under a path, with `weight` and `bias` [dim].
    public init(_ weights: Weights, _ dim: Int, eps: Double) throws(SwanError) {
        weight = try weights.tensor("weight", [dim])
        bias = try weights.tensor("bias", [dim])
        self.eps = eps
    }

    /// Creates the layer without parameters.
    public init(eps: Double) {
        weight = nil
        bias = nil
        self.eps = eps
    }

    /// x [..., dim] -> the same shape.
    public func callAsFunction(_ x: Tensor) throws(SwanError) -> Tensor {
        try layerNorm(x, weight: weight, bias: bias, eps: eps)
    }
}

/// Normalization by the root mean square over the last dimension, with a weight.
public struct RMSNorm: Sendable {
    private let weight: Tensor
    private let eps: Double

    /// Loads the layer under a path, with `weight` [dim].
    public init(_ weights: Weights, _ dim: Int, eps: Double) throws(SwanError) {
        weight = try weights.tensor("weight", [dim])
        self.eps = eps
    }

    /// x [..., dim] -> the same shape.
    public func callAsFunction(_ x: Tensor) throws(SwanError) -> Tensor {
        try rmsNorm(x, weight: weight, eps: eps)
    }
}
