public import SwanModels
public import SwanSystem
import Torch
public import TorchNN

extension WanConfig {
    /// Returns this configuration with the sizes that the shapes of the weights determine.
    ///
    /// A configuration file may be missing or misleading: that of Wan 2.2's image-to-video model has the
    /// same `model_type` as that of Wan 2.1's, which attends to image tokens, although it does not. Values
    /// that no shape determines are unchanged: `eps`, `textLen`, and `heads` if `dim` matches the weights;
    /// otherwise heads are 128 wide, as in all of Wan's models.
    ///
    /// - Parameter source: The weights of a transformer in Wan's own names (`inWanNames()`).
    /// - Throws: `invalidWeights` if a weight that every model has is missing, or if sizes are inconsistent.
    public func fitted(to source: any WeightSource) throws(SwanError) -> WanConfig {
        guard !source.generatesTensors else { return self }
        var config = self
        let patch = try Self.shape(source, "patch_embedding.weight", rank: 5)
        config.inDim = patch[1]
        config.patchSize = Array(patch[2...])
        config.dim = patch[0]
        config.heads = try heads(of: patch[0])
        config.ffnDim = try Self.shape(source, "blocks.0.ffn.0.weight", rank: 2)[0]
        config.textDim = try Self.shape(source, "text_embedding.0.weight", rank: 2)[1]
        config.freqDim = try Self.shape(source, "time_embedding.0.weight", rank: 2)[1]
        let head = try Self.shape(source, "head.head.weight", rank: 2)[0]
        for size in config.patchSize {
            try NumberLimits.require(
                size,
                in: NumberLimits.patch,
                "a side of patch_embedding.weight"
            )
        }
        let patchElements = config.patchSize.reduce(1, *)
        guard head % patchElements == 0 else {
            throw SwanError(
                .invalidWeights,
                "head.head.weight has \(head) rows, not a multiple of the patch size \(config.patchSize)"
            )
        }
        config.outDim = head / patchElements
        config.layers = source.layers(under: "blocks.")
        config.qkNorm = try source.shape("blocks.0.self_attn.norm_q.weight") != nil
        config.crossAttnNorm = try source.shape("blocks.0.norm3.weight") != nil
        config.imageDim = try source.shape("img_emb.proj.0.weight")?.last
        config.imagePositions = try source.shape("img_emb.emb_pos")?.dropFirst().first
        config.vaceInDim = try source.shape("vace_patch_embedding.weight")?.dropFirst().first
        config.vaceLayers = try vaceLayers(
            branch: source.layers(under: "vace_blocks."),
            blocks: config.layers
        )
        try config.validate()
        return config
    }

    private func heads(of dim: Int) throws(SwanError) -> Int {
        if dim == self.dim { return heads }
        guard dim > 0, dim % 128 == 0 else {
            throw SwanError(
                .invalidWeights,
                "the width \(dim) of the weights is not a multiple of 128; add a configuration with "
                    + "\"dim\": \(dim) and \"num_heads\" to specify the number of heads"
            )
        }
        return dim / 128
    }

    /// The blocks that the `branch` blocks of a control branch belong to: as configured, or evenly spaced as
    /// in all of Wan's models.
    private func vaceLayers(branch: Int, blocks: Int) throws(SwanError) -> [Int]? {
        guard branch > 0 else { return nil }
        if let vaceLayers, vaceLayers.count == branch { return vaceLayers }
        guard blocks > 0, blocks % branch == 0 else {
            throw SwanError(
                .invalidWeights,
                "there are \(branch) vace_blocks for \(blocks) blocks; add a configuration with "
                    + "\(branch) \"vace_layers\" to specify which ones they belong to"
            )
        }
        return Array(stride(from: 0, to: blocks, by: max(1, blocks / branch)))
    }

    private static func shape(
        _ source: any WeightSource,
        _ key: String,
        rank: Int
    ) throws(SwanError) -> [Int] {
        guard let shape = try source.shape(key) else {
            throw SwanError(
                .invalidWeights,
                "there is no weight \(key): these are not the weights of a Wan transformer"
            )
        }
        guard shape.count == rank else {
            throw SwanError(
                .invalidWeights,
                "\(key) is \(shape); a Wan transformer has \(rank) dimensions there"
            )
        }
        return shape
    }
}

extension WeightSource {
    /// The number of layers of a kind: of distinct indices that follow `prefix` in the keys.
    func layers(under prefix: String) -> Int {
        Set(
            keys.lazy.filter { $0.hasPrefix(prefix) }
                .compactMap { NumberLimits.layer($0.dropFirst(prefix.count).prefix { $0 != "." }) }
        ).count
    }
}
