import SwanModels
import SwanSchedulers
import SwanSystem
import Torch
import TorchNN

/// A causal network that runs on one block of frames at a time, with the keys of the blocks before.
extension CleanPredictor {
    /// The blocks of frames of a video [B, C, F, H, W].
    func blocks(of video: Tensor) throws(SwanError) -> [Range<Int>] {
        try causal().view(of: video).blocks
    }

    /// The empty past of a video of this size.
    func past(of video: Tensor) throws(SwanError) -> PastKeys {
        let causal = try causal()
        let grid = try causal.backbone.grid(of: video)
        return PastKeys(
            try causal.view(of: video),
            tokensPerFrame: grid[1] * grid[2],
            layers: causal.backbone.config.layers
        )
    }

    /// Predicts the clean latents of a block [B, C, f, H, W], in float32.
    ///
    /// With gradients, the whole block is computed again in the backward pass if the network is
    /// recomputed, so that the memory is that of one block.
    func block(
        _ index: Int,
        _ noisy: Tensor,
        timestep: Double,
        _ text: TextConditioning,
        _ past: PastKeys
    ) throws(SwanError) -> Tensor {
        let causal = try causal()
        let velocity: @Sendable () throws(SwanError) -> Tensor = { () throws(SwanError) in
            let input = try BlockInput(causal, index, noisy.to(device, dtype), timestep, text)
            let x = try causal.backbone.run(
                blocks: 0..<causal.backbone.config.layers,
                causal.backbone.embed(input.latents),
                input.context,
                recomputing: isRecomputed
            ) { layer, q, k, v throws(SwanError) in
                let (keys, values) = try past.joined(layer, index, k, v)
                return try attention(q, keys, values)
            }
            return try causal.backbone.project(x, input.context.timestep, input.grid)
        }
        let flow = try (isRecomputed ? recomputed(velocity) : velocity()).to(.float32)
        return try self.flow.clean(fromFlow: flow, noisy, at: .all(timestep))
    }

    /// Runs a block once more to keep its keys and values for later blocks. Records no gradients.
    func keep(
        _ index: Int,
        _ latents: Tensor,
        timestep: Double,
        _ text: TextConditioning,
        in past: inout PastKeys
    ) throws(SwanError) {
        let causal = try causal()
        let input = try BlockInput(causal, index, latents.to(device, dtype), timestep, text)
        let before = past
        _ = try causal.backbone.run(
            blocks: 0..<causal.backbone.config.layers,
            causal.backbone.embed(input.latents),
            input.context
        ) { layer, q, k, v throws(SwanError) in
            try past.append(layer, k, v)
            let (keys, values) = try before.joined(layer, index, k, v)
            return try attention(q, keys, values)
        }
    }

    private func causal() throws(SwanError) -> CausalNetwork {
        guard case .causal(let network, let view) = network else {
            throw SwanError(
                .invalidArgument,
                "a bidirectional network cannot make a video block by block"
            )
        }
        return CausalNetwork(backbone: network.backbone, causal: view)
    }
}

/// A causal network's parts, and what its blocks see.
private struct CausalNetwork: Sendable {
    let backbone: WanBackbone
    let causal: NetworkForm.CausalView

    func view(of video: Tensor) throws(SwanError) -> BlockCausalAttention {
        let grid = try backbone.grid(of: video)
        return try BlockCausalAttention(
            frames: grid[0],
            tokensPerFrame: grid[1] * grid[2],
            framesPerBlock: causal.framesPerBlock,
            window: causal.window,
            sinks: causal.sinks
        )
    }
}

/// What a network needs to run on a block at a timestep.
private struct BlockInput {
    let latents: Tensor
    let grid: [Int]
    let context: BlockContext

    init(
        _ causal: CausalNetwork,
        _ index: Int,
        _ latents: Tensor,
        _ timestep: Double,
        _ text: TextConditioning
    ) throws(SwanError) {
        self.latents = latents
        let grid = try causal.backbone.grid(of: latents)
        let timesteps = try Tensor.full([latents.size(0), 1], timestep, .float32, latents.device)
        self.grid = grid
        context = BlockContext(
            timestep: try causal.backbone.embed(timesteps: timesteps, grid),
            rope: try RoPE(
                firstFrames: [index * causal.causal.framesPerBlock],
                frames: grid[0],
                height: grid[1],
                width: grid[2],
                headDim: causal.backbone.config.headDim,
                device: latents.device
            ),
            text: text
        )
    }
}
