package import SwanModels
package import SwanSystem
package import Torch

extension WanTransformer {
    /// Predicts the flow for noisy latents with the tokens divided among ranks.
    ///
    /// All ranks pass the same arguments and get the whole flow; see `callAsFunction`.
    package func callAsFunction(
        _ latents: Tensor,
        timesteps: Tensor,
        text: TextConditioning,
        cache: FirstBlockCache? = nil,
        recomputing: Bool = false,
        dividing sequence: SequenceParallel
    ) throws(SwanError) -> Tensor {
        let part = try DividedInput(backbone, latents, timesteps, text, sequence)
        let x = try backbone.run(
            blocks: 0..<config.layers,
            part.own(of: backbone.embed(latents)),
            part.context,
            cache: cache,
            recomputing: recomputing,
            attend: part.attend
        )
        return try part.flow(x, backbone)
    }
}

extension WanVACETransformer {
    /// Predicts the flow for noisy latents with the tokens, also those of the control branch,
    /// divided among ranks.
    ///
    /// All ranks pass the same arguments and get the whole flow; see `callAsFunction`.
    package func callAsFunction(
        _ latents: Tensor,
        timesteps: Tensor,
        text: TextConditioning,
        control: Tensor,
        scale: Double = 1,
        cache: FirstBlockCache? = nil,
        dividing sequence: SequenceParallel
    ) throws(SwanError) -> Tensor {
        let part = try DividedInput(backbone, latents, timesteps, text, sequence)
        var branch = ControlTokens(
            tokens: try part.own(of: embed(control: control, for: latents)),
            scale: scale
        )
        let x = try run(
            blocks: 0..<config.layers,
            part.own(of: backbone.embed(latents)),
            control: &branch,
            part.context,
            cache: cache,
            attend: part.attend
        )
        return try part.flow(x, backbone)
    }
}

/// What a rank needs to run all blocks on its share of a video's tokens.
///
/// The input is built and embedded whole: images and masks are channels of it.
struct DividedInput: Sendable {
    let context: BlockContext
    private let grid: [Int]
    private let shares: Shares
    private let sequence: SequenceParallel

    init(
        _ backbone: WanBackbone,
        _ latents: Tensor,
        _ timesteps: Tensor,
        _ text: TextConditioning,
        _ sequence: SequenceParallel
    ) throws(SwanError) {
        self.sequence = sequence
        grid = try backbone.grid(of: latents)
        shares = try sequence.shares(of: grid.reduce(1, *))
        context = try BlockContext(
            timestep: backbone.embed(timesteps: timesteps, grid),
            rope: backbone.rope(grid, latents.device),
            text: text
        ).sliced(tokens: shares[sequence.group.rank], of: grid)
    }

    /// This rank's tokens [B, l, C] of all [B, L, C].
    func own(of tokens: Tensor) throws(SwanError) -> Tensor {
        let range = shares[sequence.group.rank]
        return try tokens.narrowed(1, range.lowerBound, range.count)
    }

    /// Self-attention to the tokens of all ranks.
    @Sendable func attend(
        _ block: Int,
        _ q: Tensor,
        _ k: Tensor,
        _ v: Tensor
    ) throws(SwanError) -> Tensor {
        try sequence.attend(q, k, v, shares)
    }

    /// The whole flow from this rank's tokens after all blocks.
    func flow(_ x: Tensor, _ backbone: WanBackbone) throws(SwanError) -> Tensor {
        let patches = try backbone.project(x, context.timestep)
        return try backbone.video(sequence.whole(patches, shares), grid)
    }
}
