public import Torch
public import TorchNN
public import SwanSystem

/// A self-attention function: queries, keys and values [B, L, N, D] of a block -> [B, L, N, D].
public typealias AttendInBlock = (
    _ block: Int, _ q: Tensor, _ k: Tensor, _ v: Tensor
) throws(SwanError) -> Tensor

/// The same, for functions that may be called again on another thread in the backward pass.
public typealias SendableAttendInBlock =
    @Sendable (
        _ block: Int, _ q: Tensor, _ k: Tensor, _ v: Tensor
    ) throws(SwanError) -> Tensor

/// The inputs of blocks in addition to the tokens.
public struct BlockContext: Sendable {
    /// The result of `WanBackbone.embed(timesteps:_:)`.
    public var timestep: TimestepEmbedding
    /// The positions of the tokens.
    public var rope: RoPE
    /// The result of `text` of the instance that runs the blocks.
    public var text: TextConditioning

    /// Creates the context of a call.
    public init(timestep: TimestepEmbedding, rope: RoPE, text: TextConditioning) {
        self.timestep = timestep
        self.rope = rope
        self.text = text
    }

    /// The context for a range of the tokens of a video of `grid`.
    public func sliced(tokens: Range<Int>, of grid: [Int]) throws(SwanError) -> BlockContext {
        BlockContext(
            timestep: try timestep.sliced(tokens: tokens, of: grid),
            rope: try rope.sliced(tokens: tokens),
            text: text
        )
    }
}

/// The embedding of timesteps for the blocks and for the head, in float32.
public struct TimestepEmbedding: Sendable {
    /// Shift and scale of the head before its own offsets are added, [B, S, C]; S as in
    /// `Modulation`.
    let head: Tensor
    /// Shifts, scales and gates of a block before its own offsets are added, [B, S, 6, C].
    let blocks: Tensor

    /// The embedding for a range of the tokens of a video of `grid`.
    public func sliced(tokens: Range<Int>, of grid: [Int]) throws(SwanError) -> TimestepEmbedding {
        let count = grid.reduce(1, *)
        let steps = head.size(1)
        guard tokens.lowerBound >= 0, tokens.upperBound <= count, count % steps == 0 else {
            throw SwanError(
                .invalidArgument,
                "tokens \(tokens) are not a range of a video of \(count) with \(steps) timesteps"
            )
        }
        if steps == 1 { return self }
        // Each timestep applies to a run of tokens: one token, or a frame.
        let run = count / steps
        if [tokens.lowerBound, tokens.upperBound].allSatisfy({ $0.isMultiple(of: run) }) {
            let (first, length) = (tokens.lowerBound / run, tokens.count / run)
            return TimestepEmbedding(
                head: try head.narrowed(1, first, length),
                blocks: try blocks.narrowed(1, first, length)
            )
        }
        let indices = try Tensor(tokens.map { $0 / run }, [tokens.count]).to(head.device)
        return TimestepEmbedding(
            head: try head.indexSelected(1, indices),
            blocks: try blocks.indexSelected(1, indices)
        )
    }
}

extension TimestepEmbedding {
    /// The embeddings of several rows, one after the other.
    package init(joining parts: [TimestepEmbedding]) throws(SwanError) {
        self.init(
            head: try concatenated(parts.map(\.head)),
            blocks: try concatenated(parts.map(\.blocks))
        )
    }

    /// The embedding of one row.
    package func row(_ index: Int) throws(SwanError) -> TimestepEmbedding {
        TimestepEmbedding(
            head: try head.narrowed(0, index, 1),
            blocks: try blocks.narrowed(0, index, 1)
        )
    }
}

extension WanBackbone {
    /// Embeds latents [B, inDim, F, H, W] as tokens [B, L, C].
    public func embed(_ latents: Tensor) throws(SwanError) -> Tensor {
        try patchEmbedding(patches(latents, grid(of: latents)))
    }

    /// Embeds timesteps 0 ... 1000 of a video of `grid`, given as [B], or as [B, F] or [B, L] if
    /// every frame or every token has its own.
    public func embed(
        timesteps: Tensor,
        _ grid: [Int]
    ) throws(SwanError) -> TimestepEmbedding {
        let timesteps = try steps(timesteps, grid)
        let shape = timesteps.shape
        let waves = try sinusoidalEmbedding(timesteps.flattened(), dim: config.freqDim)
            .to(.float32)
        let e = try timeOut(timeIn(waves).silu())  // [B*S, C]
        let e6 = try timeProjection(e.silu())  // [B*S, 6C]
        return TimestepEmbedding(
            head: try e.reshaped(shape + [-1]),
            blocks: try e6.reshaped(shape + [6, config.dim])
        )
    }

    /// Runs tokens [B, L, C] through a range of the blocks that this instance holds.
    ///
    /// - Parameters:
    ///   - cache: The results of earlier steps in the same range, reused if the first block of the
    ///     range adds nearly the same as it did then.
    ///   - attend: Self-attention, called with the block's index in the whole network.
    public func run(
        blocks: Range<Int>,
        _ x: Tensor,
        _ context: BlockContext,
        cache: FirstBlockCache? = nil,
        attend: AttendInBlock
    ) throws(SwanError) -> Tensor {
        try run(blocks: blocks, x, context, cache: cache, attend: attend) { _, _ in nil }
    }

    /// The same; with `recomputing` and no cache, each block runs again in the backward pass, and
    /// keeps no activations, nor weights that are read late.
    public func run(
        blocks: Range<Int>,
        _ x: Tensor,
        _ context: BlockContext,
        cache: FirstBlockCache? = nil,
        recomputing: Bool,
        attend: @escaping SendableAttendInBlock
    ) throws(SwanError) -> Tensor {
        guard recomputing, cache == nil else {
            return try run(blocks: blocks, x, context, cache: cache, attend: attend)
        }
        var x = x
        for index in blocks {
            let keys = try context.text.blocks.keys(of: index)
            let block = try stack.deferred(index)
            x = try recomputed { [x] () throws(SwanError) in
                try block()(x, context, keys) { q, k, v throws(SwanError) in
                    try attend(index, q, k, v)
                }
            }
        }
        return x
    }

    /// The same, with `hint` added to the output of each block.
    func run(
        blocks: Range<Int>,
        _ x: Tensor,
        _ context: BlockContext,
        cache: FirstBlockCache?,
        attend: AttendInBlock,
        hint: Hint
    ) throws(SwanError) -> Tensor {
        try advance(blocks, x, cache) { index, block, x throws(SwanError) in
            let control = try hint(index, x)
            var y = try block(x, context, context.text.blocks.keys(of: index)) {
                q,
                k,
                v throws(SwanError) in try attend(index, q, k, v)
            }
            if let control { try y.add(control) }
            return y
        }
    }

    /// Projects the tokens [B, L, C] of a whole video of `grid` to the flow [B, outDim, F, H, W].
    public func project(
        _ x: Tensor,
        _ timestep: TimestepEmbedding,
        _ grid: [Int]
    ) throws(SwanError) -> Tensor {
        try video(project(x, timestep), grid)
    }

    /// Projects tokens [B, L, C], of a whole video or a range of it, to patches of the flow [B, L,
    /// patch].
    ///
    /// Concatenate ranges in order before passing them to `video`.
    public func project(
        _ x: Tensor,
        _ timestep: TimestepEmbedding
    ) throws(SwanError) -> Tensor {
        let modulation = try Modulation(headModulation, timestep.head.unsqueezed(2), x.dtype)
        return try head(modulation.apply(norm(x), for: .head))
    }

    /// Applies `step` for every block of a range in turn. With a `cache`, all blocks but the first
    /// may be skipped.
    private func advance(
        _ range: Range<Int>,
        _ x: Tensor,
        _ cache: FirstBlockCache?,
        step: (_ index: Int, _ block: WanBlock, _ x: Tensor) throws(SwanError) -> Tensor
    ) throws(SwanError) -> Tensor {
        var x = x
        func advance(_ index: Int, _ block: WanBlock) throws(SwanError) {
            x = try step(index, block, x)
        }
        guard let cache, let start = range.first else {
            try stack.forEach(in: range, advance)
            return x
        }
        let input = x
        try stack.forEach(in: start..<start + 1, advance)
        let first = x
        if let rest = try cache.rest(after: first - input) { return try x + rest }
        try stack.forEach(in: start + 1..<range.upperBound, advance)
        cache.keep(try x - first)
        return x
    }
}
