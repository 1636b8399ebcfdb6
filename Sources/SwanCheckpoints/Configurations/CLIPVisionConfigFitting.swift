public import SwanModels
public import SwanSystem
import Torch
public import TorchNN

extension CLIPVisionConfig {
    /// This configuration with every size that the weights show taken from them.
    ///
    /// The original checkpoint has no configuration file. What no shape shows stays as it is: heads
    /// (where the width is the weights' own; else they are 80 wide, as in ViT-H), `eps` and the
    /// activation.
    ///
    /// - Parameter source: an image encoder's weights under Wan's own names (`inWanNames()`).
    /// - Throws: where a weight that every encoder has is missing.
    public func fitted(to source: any WeightSource) throws(SwanError) -> CLIPVisionConfig {
        guard !source.makesAnything else { return self }
        func shape(_ key: String, rank: Int) throws(SwanError) -> [Int] {
            guard let shape = try source.shape("visual." + key), shape.count == rank else {
                throw SwanError(
                    .invalidWeights,
                    "there is no weight visual.\(key) of \(rank) dimensions: these are not the "
                        + "weights of a CLIP image encoder"
                )
            }
            return shape
        }
        var config = self
        let patches = try shape("patch_embedding.weight", rank: 4)
        (config.dim, config.patchSize) = (patches[0], patches[3])
        if config.dim != dim { config.heads = max(1, config.dim / 80) }
        config.ffnDim = try shape("transformer.0.mlp.0.weight", rank: 2)[0]
        let positions = try shape("pos_embedding", rank: 3)[1]
        try NumberLimits.require(positions, in: NumberLimits.tokens, "the number of positions")
        try NumberLimits.require(config.patchSize, in: NumberLimits.side, "patch_size")
        let side = Int(Double(positions - 1).squareRoot().rounded())
        try NumberLimits.require(
            side > 0 && side * side == positions - 1,
            "visual.pos_embedding has \(positions) positions, which is not a square and one more"
        )
        config.imageSize = side * config.patchSize
        config.layers = source.layers(under: "visual.transformer.")
        try config.validate()
        return config
    }
}
