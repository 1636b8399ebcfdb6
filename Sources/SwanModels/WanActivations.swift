/// What a Wan transformer keeps in memory while it is trained on one micro-batch, in bytes.
///
/// The numbers follow from the operators of `WanBlock` whose gradients need their inputs or results:
/// 24 tensors of the network's width for each token and block, and 2 of the feed-forward network's.
package struct WanActivations: Sendable, Equatable {
    /// What stays from the forward pass to the backward pass.
    package let kept: Int
    /// What is there for a moment: a block that runs again, or the results of one block.
    package let passing: Int
    /// What a forward pass has for a moment if nothing is recorded.
    package let unrecorded: Int

    /// Computes the needs of a network.
    ///
    /// - Parameters:
    ///   - latents: The shape of a micro-batch [B, C, F, H, W].
    ///   - framesAtOnce: The frames that the network sees in one call, if it makes a video block by
    ///     block and keeps the keys and values of earlier blocks; nil for all.
    ///   - bytes: The size of a number in the network's dtype.
    ///   - isRecomputed: Whether blocks run again in the backward pass.
    package init(
        _ config: WanConfig,
        latents: [Int],
        framesAtOnce: Int? = nil,
        bytes: Int,
        isRecomputed: Bool
    ) {
        let patch = config.patchSize.reduce(1, *)
        let numbers = latents[0] * latents[2] * latents[3] * latents[4]
        let tokens = max(1, numbers / patch)
        let atOnce = framesAtOnce.map { max(1, tokens * $0 / latents[2]) } ?? tokens
        let width = config.dim * bytes
        let block = (24 * config.dim + 2 * config.ffnDim) * bytes
        // Latents are float32, and float64 where noise levels convert them.
        let ends = 12 * 4 * numbers * latents[1]
        let text = 2 * config.layers * latents[0] * (config.textLen + 1) * width
        let past = framesAtOnce == nil ? 0 : 2 * config.layers * tokens * width
        if isRecomputed {
            kept = ends + text + past + config.layers * atOnce * width
            passing = atOnce * block
        } else {
            kept = ends + text + past + config.layers * tokens * block
            passing = atOnce * (4 * config.dim + 2 * config.ffnDim) * bytes
        }
        unrecorded = tokens * (8 * config.dim + 2 * config.ffnDim) * bytes
    }
}
