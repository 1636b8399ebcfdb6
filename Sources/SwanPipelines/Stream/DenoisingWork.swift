package import SwanModels
package import SwanSystem
package import Torch

/// The next forward pass that a stream's denoiser needs: rows of a batch that share a text.
package struct DenoisingWork: Sendable {
    /// The noised latents of each row [B, C, F, h, w].
    package let latents: Tensor
    /// The timestep of each row.
    package let timesteps: [Double]
    /// The position of each row's first latent frame in its stream.
    package let firstFrames: [Int]
    /// The text that the rows attend to.
    package let text: TextConditioning
    /// The KV cache row that holds each row's history.
    package let cacheRows: [CacheRow]
}

extension CausalWanTransformer {
    /// Runs the rows of any number of streams, batching those with the same latent shape into one
    /// forward pass.
    ///
    /// - Returns: The flow of each element of `works` [B, C, F, h, w], in the same order.
    package func callAsFunction(
        _ works: [DenoisingWork],
        cache: inout KVCachePool
    ) throws(SwanError) -> [Tensor] {
        var flows: [Int: Tensor] = [:]
        let byShape = Dictionary(grouping: works.indices) { Array(works[$0].latents.shape[1...]) }
        for indices in byShape.values {
            let flow = try self(DenoisingWork(joining: indices.map { works[$0] }), cache: &cache)
            let parts = try flow.split(indices.map { works[$0].timesteps.count }, dim: 0)
            for (index, part) in zip(indices, parts) { flows[index] = part }
        }
        return works.indices.compactMap { flows[$0] }
    }

    /// Runs the rows of one stream.
    ///
    /// - Returns: The predicted flow [B, C, F, h, w].
    package func callAsFunction(
        _ work: DenoisingWork,
        cache: inout KVCachePool
    ) throws(SwanError) -> Tensor {
        try self(
            work.latents,
            timesteps: work.timesteps,
            text: work.text,
            firstFrames: work.firstFrames,
            cache: &cache,
            rows: work.cacheRows
        )
    }
}

extension DenoisingWork {
    /// Concatenates the rows of several streams, whose latents must have the same shape.
    fileprivate init(joining works: [DenoisingWork]) throws(SwanError) {
        latents = try concatenated(works.map(\.latents))
        timesteps = works.flatMap(\.timesteps)
        firstFrames = works.flatMap(\.firstFrames)
        text = TextConditioning(joining: works.map { ($0.text, $0.timesteps.count) })
        cacheRows = works.flatMap(\.cacheRows)
    }
}
