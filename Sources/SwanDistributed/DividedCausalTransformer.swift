package import SwanModels
package import SwanSystem
package import Torch

extension CausalWanTransformer {
    /// The training form with the tokens divided among ranks: all frames at once, with attention
    /// in blocks of frames.
    ///
    /// All ranks pass the same arguments and get the whole flow; see `callAsFunction`. Each computes
    /// attention of all tokens for some heads, so there must be a head for each rank.
    package func callAsFunction(
        _ latents: Tensor,
        timesteps: Tensor,
        text: TextConditioning,
        framesPerBlock: Int = 1,
        window: Int? = nil,
        sinks: Int = 0,
        recomputing: Bool = false,
        dividing sequence: SequenceParallel
    ) throws(SwanError) -> Tensor {
        let part = try DividedInput(backbone, latents, timesteps, text, sequence)
        let grid = try backbone.grid(of: latents)
        let causal = try BlockCausalAttention(
            frames: grid[0],
            tokensPerFrame: grid[1] * grid[2],
            framesPerBlock: framesPerBlock,
            window: window,
            sinks: sinks
        )
        let exchange = HeadExchange(sequence.group)
        let tokens = try sequence.shares(of: grid.reduce(1, *)).counts
        let x = try backbone.run(
            blocks: 0..<config.layers,
            part.own(of: backbone.embed(latents)),
            part.context,
            recomputing: recomputing
        ) { _, q, k, v throws(SwanError) in
            try exchange.attend(q, k, v, tokens: tokens) { q, k, v throws(SwanError) in
                try causal(q, k, v)
            }
        }
        return try part.flow(x, backbone)
    }
}
