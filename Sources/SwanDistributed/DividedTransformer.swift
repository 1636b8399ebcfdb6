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
        let grid = try backbone.grid(of: latents)
        let shares = try sequence.shares(of: grid.reduce(1, *))
        let own = shares[sequence.group.rank]
        let context = try BlockContext(
            timestep: backbone.embed(timesteps: timesteps, grid),
            rope: backbone.rope(grid, latents.device),
            text: text
        ).sliced(tokens: own, of: grid)
        // The input is built and embedded whole: images and masks are channels of it.
        let tokens = try backbone.embed(latents).narrowed(1, own.lowerBound, own.count)
        let x = try backbone.run(
            blocks: 0..<config.layers,
            tokens,
            context,
            cache: cache,
            recomputing: recomputing
        ) { _, q, k, v throws(SwanError) in try sequence.attend(q, k, v, shares) }
        let patches = try backbone.project(x, context.timestep)
        return try backbone.video(sequence.whole(patches, shares), grid)
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
        let grid = try backbone.grid(of: latents)
        let shares = try sequence.shares(of: grid.reduce(1, *))
        let own = shares[sequence.group.rank]
        let context = try BlockContext(
            timestep: backbone.embed(timesteps: timesteps, grid),
            rope: backbone.rope(grid, latents.device),
            text: text
        ).sliced(tokens: own, of: grid)
        let tokens = try backbone.embed(latents).narrowed(1, own.lowerBound, own.count)
        let controlTokens = try embed(control: control, for: latents)
        var branch = ControlTokens(
            tokens: try controlTokens.narrowed(1, own.lowerBound, own.count),
            scale: scale
        )
        let x = try run(
            blocks: 0..<config.layers,
            tokens,
            control: &branch,
            context,
            cache: cache
        ) { _, q, k, v throws(SwanError) in try sequence.attend(q, k, v, shares) }
        let patches = try backbone.project(x, context.timestep)
        return try backbone.video(sequence.whole(patches, shares), grid)
    }
}
