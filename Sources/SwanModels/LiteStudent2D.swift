import Foundation
public import SwanSystem
public import Torch
public import TorchNN

/// A transformer for pictures that learns from a video model: `WanLiteStudent`.
///
/// Every latent is a token. A block adds the embeddings of the prompt's mean and of the timestep to
/// all tokens before attention. Source: WanDistiller (github.com/kat3ri/WanDistiller).
public struct LiteStudent2D: Sendable {
    /// The configuration.
    public let config: LiteStudentConfig
    private let convIn, convOut: PictureConv
    private let timeIn, timeOut, textProjection: Linear
    private let blocks: LayerStack<LiteStudentBlock>

    /// Loads the network under a path, with the published key names.
    public init(_ weights: Weights, _ config: LiteStudentConfig) throws(SwanError) {
        try config.validate()
        self.config = config
        let dim = config.hiddenSize
        convIn = try PictureConv(weights["conv_in"], config.channels, dim)
        convOut = try PictureConv(weights["conv_out"], dim, config.channels)
        timeIn = try Linear(weights["time_embed"][0], dim, 4 * dim)
        timeOut = try Linear(weights["time_embed"][2], 4 * dim, dim)
        textProjection = try Linear(weights["text_proj"], config.textDim, dim)
        blocks = try LayerStack(weights["blocks"], count: config.depth) {
            weights throws(SwanError) in try LiteStudentBlock(weights, config)
        }
    }

    /// The means of prompts' embeddings [B, L, textDim] over their tokens: [B, textDim].
    ///
    /// - Parameter lengths: The number of tokens of each prompt, before rows of zeros; nil for the
    ///   mean over all rows, padding too, as published. A prompt without tokens has the mean 0.
    public static func pooled(
        _ embeddings: Tensor,
        lengths: [Int]? = nil
    ) throws(SwanError) -> Tensor {
        guard let lengths else { return try embeddings.mean([1]) }
        let (rows, width) = (embeddings.size(0), embeddings.size(1))
        guard lengths.count == rows, lengths.allSatisfy({ 0...width ~= $0 }) else {
            throw SwanError(
                .invalidArgument,
                "the lengths \(lengths) do not fit embeddings of the shape \(embeddings.shape)"
            )
        }
        let weights = lengths.flatMap { length in
            (0..<width).map { $0 < length ? 1 / Float(length) : 0 }
        }
        let mask = try Tensor(weights, [rows, width, 1]).to(embeddings.device, embeddings.dtype)
        return try (embeddings * mask).sum([1])
    }

    /// Predicts the flow of a picture's latents.
    ///
    /// - Parameters:
    ///   - latents: [B, channels, H, W].
    ///   - timesteps: 0 ... 1000 as [B].
    ///   - text: The prompts' means [B, textDim]; see `pooled`.
    ///   - recomputing: Whether the blocks run again in the backward pass, so that their
    ///     activations are not kept.
    /// - Returns: [B, channels, H, W].
    public func callAsFunction(
        _ latents: Tensor,
        timesteps: Tensor,
        text: Tensor,
        recomputing: Bool = false
    ) throws(SwanError) -> Tensor {
        let shape = latents.shape
        guard shape.count == 4, shape[1] == config.channels, timesteps.rank == 1 else {
            throw SwanError(
                .invalidArgument,
                "latents \(shape), timesteps \(timesteps.shape): the student expects [B, "
                    + "\(config.channels), H, W] and [B]"
            )
        }
        let context = Context(
            time: try embed(timesteps, as: latents.dtype),
            text: try textProjection(text).unsqueezed(1),
            rope: try rope(height: shape[2], width: shape[3], latents.device)
        )
        var x = try convIn(latents)
        x = try x.flattened(from: 2).transposed(1, 2)  // [B, H W, D]
        x = try run(x, context, recomputing: recomputing)
        return try convOut(
            x.transposed(1, 2).contiguous().unflattened(2, [shape[2], shape[3]])
        )
    }

    /// What all blocks see besides the tokens: embeddings [B, 1, D], and rotations.
    fileprivate struct Context: Sendable {
        let time, text: Tensor
        let rope: RoPE?
    }

    private func run(
        _ tokens: Tensor,
        _ context: Context,
        recomputing: Bool
    ) throws(SwanError) -> Tensor {
        var x = tokens
        guard recomputing else {
            try blocks.forEach { _, block throws(SwanError) in x = try block(x, context) }
            return x
        }
        for index in blocks.held {
            let block = try blocks.deferred(index)
            x = try recomputed { [x] () throws(SwanError) in try block()(x, context) }
        }
        return x
    }

    /// [B] -> [B, 1, D]: sines first, at frequencies 10000^(-k / (D/2 - 1)).
    private func embed(_ timesteps: Tensor, as dtype: DType) throws(SwanError) -> Tensor {
        let half = config.hiddenSize / 2
        let frequencies = (0..<half).map { k in
            Foundation.exp(-Foundation.log(10_000) * Double(k) / Double(half - 1))
        }
        let angles =
            try timesteps.to(.float64).unsqueezed(1)
            * Tensor(frequencies, [1, half]).to(timesteps.device)
        let waves = try concatenated([angles.sin(), angles.cos()], dim: 1).to(dtype)
        return try timeOut(timeIn(waves).silu()).unsqueezed(1)
    }

    private func rope(
        height: Int,
        width: Int,
        _ device: Device
    ) throws(SwanError) -> RoPE? {
        guard config.positions == .rope else { return nil }
        return try RoPE(
            firstFrames: [0],
            frames: 1,
            height: height,
            width: width,
            headDim: config.headDim,
            device: device
        )
    }
}

/// A convolution by 3x3 kernels that keeps the size of a picture.
private struct PictureConv: Sendable {
    let weight, bias: Tensor

    init(_ weights: Weights, _ inputs: Int, _ outputs: Int) throws(SwanError) {
        weight = try weights.tensor("weight", [outputs, inputs, 3, 3])
        bias = try weights.tensor("bias", [outputs])
    }

    func callAsFunction(_ x: Tensor) throws(SwanError) -> Tensor {
        try conv2d(x, weight, bias, padding: [1, 1])
    }
}

/// Attention over all tokens of a picture and a feed-forward network, each with a residual
/// connection.
private struct LiteStudentBlock: Sendable {
    let norm1, norm2: LayerNorm
    /// Queries, keys and values, one after the other.
    let inputWeight, inputBias: Tensor
    let output, mlpIn, mlpOut: Linear
    let heads: Int

    init(_ weights: Weights, _ config: LiteStudentConfig) throws(SwanError) {
        let (attention, dim) = (weights["attn"], config.hiddenSize)
        norm1 = try LayerNorm(weights["norm1"], dim, eps: 1e-5)
        norm2 = try LayerNorm(weights["norm2"], dim, eps: 1e-5)
        inputWeight = try attention.tensor("in_proj_weight", [3 * dim, dim])
        inputBias = try attention.tensor("in_proj_bias", [3 * dim])
        output = try Linear(attention["out_proj"], dim, dim)
        mlpIn = try Linear(weights["mlp"][0], dim, 4 * dim)
        mlpOut = try Linear(weights["mlp"][2], 4 * dim, dim)
        heads = config.heads
    }

    /// x [B, L, D].
    func callAsFunction(
        _ tokens: Tensor,
        _ context: LiteStudent2D.Context
    ) throws(SwanError) -> Tensor {
        var x = try tokens + context.text + context.time
        x = try x + attend(norm1(x), context.rope)
        return try x + mlpOut(mlpIn(norm2(x)).silu())
    }

    private func attend(_ x: Tensor, _ rope: RoPE?) throws(SwanError) -> Tensor {
        let parts = try linear(x, inputWeight, inputBias).chunked(3, dim: 2)
            .map { part throws(SwanError) in try part.unflattened(-1, [heads, -1]) }
        let q = try rope?(parts[0]) ?? parts[0]  // [B, L, N, D]
        let k = try rope?(parts[1]) ?? parts[1]
        return try output(attention(q, k, parts[2]).flattened(from: 2))
    }
}
