public import SwanModels
public import SwanSystem
import Torch
public import TorchNN

extension CLIPVisionConfig {
    /// Returns this configuration with the sizes that the shapes of the weights determine.
    ///
    /// The original checkpoint has no configuration file. Values that no shape determines are unchanged:
    /// the number of heads (if this configuration has the width of the weights; otherwise heads are 80
    /// wide, as in ViT-H), `eps` and the activation.
    ///
    /// - Parameter source: The weights of an image encoder in Wan's own names (`inWanNames()`).
    /// - Throws: `invalidWeights` if a weight that every encoder has is missing.
    public func fitted(to source: any WeightSource) throws(SwanError) -> CLIPVisionConfig {
        guard !source.generatesTensors else { return self }
        func shape(_ key: String, rank: Int) throws(SwanError) -> [Int] {
            guard let shape = try source.shape("visual." + key), shape.count == rank else {
                throw SwanError(
                    .invalidWeights,
                    "there is no \(rank)-dimensional weight visual.\(key): these are not the "
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
            "visual.pos_embedding has \(positions) positions; expected a square number plus one"
        )
        config.imageSize = side * config.patchSize
        config.layers = source.layers(under: "visual.transformer.")
        try config.validate()
        return config
    }
}
