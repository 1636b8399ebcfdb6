import SwanCheckpoints
import SwanDistributed
import SwanModels
import SwanSystem
import Torch

/// What one rank of a staged stream has loaded.
struct StagedParts: Sendable {
    /// Loads further blocks.
    typealias LoadBlocks = @Sendable (Range<Int>) throws(SwanError) -> CausalWanTransformer

    /// The model with this rank's blocks, on rank 0 alone, which encodes frames and prompts.
    let model: StreamModel?
    /// This rank's blocks, at first; none on ranks that only encode or decode.
    let transformer: CausalWanTransformer
    /// The autoencoder, on the ranks that encode and decode.
    let vae: (any VideoAutoencoder)?
    /// The first map of blocks.
    let map: BlockMap
    /// Loads blocks that come from other ranks.
    let load: LoadBlocks

    /// Loads what a rank needs. Weights of blocks that it does not run are not loaded.
    ///
    /// - Parameter rank: The rank in the job.
    init(
        _ checkpoint: StreamCheckpoint,
        _ roles: StagedRoles,
        _ options: StagedOptions,
        rank: Int,
        _ dtype: DType,
        _ device: Device
    ) throws {
        let layers = checkpoint.configs.transformer.layers
        // Ranks by steps run all blocks.
        let maps = try BlockMap(
            blocks: layers,
            ranks: options.layout == .blocks ? roles.stages.count : 1
        )
        var own = 0..<0
        if roles.stages.contains(rank) {
            own = options.layout == .blocks ? maps[rank - roles.head] : 0..<layers
        }
        map = maps
        try checkpoint.requireFit()
        if rank == 0 {
            let whole = try checkpoint.load(dtype, device, blocks: own)
            (model, transformer, vae) = (whole, whole.transformer, whole.vae)
        } else {
            model = nil
            transformer = try checkpoint.loadTransformer(dtype, device, blocks: own)
            vae =
                roles.decoders.contains(rank) ? try checkpoint.loadAutoencoder(dtype, device) : nil
        }
        load = { blocks throws(SwanError) in
            try checkpoint.loadTransformer(dtype, device, blocks: blocks)
        }
    }

    /// The parts of a model that is loaded already, for tests.
    ///
    /// - Parameter load: Returns the transformer with some of its blocks.
    init(
        _ model: StreamModel,
        _ roles: StagedRoles,
        _ options: StagedOptions,
        rank: Int,
        load: @escaping LoadBlocks
    ) throws(SwanError) {
        let layers = model.transformer.config.layers
        map = try BlockMap(
            blocks: layers,
            ranks: options.layout == .blocks ? roles.stages.count : 1
        )
        let isStage = roles.stages.contains(rank)
        let whole = 0..<layers
        let own = options.layout == .blocks && isStage ? map[rank - roles.head] : whole
        transformer = try load(isStage ? own : 0..<0)
        self.model = rank == 0 ? model : nil
        vae = rank == 0 || roles.decoders.contains(rank) ? model.vae : nil
        self.load = load
    }
}
