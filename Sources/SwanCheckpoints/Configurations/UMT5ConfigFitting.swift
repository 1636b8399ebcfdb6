public import SwanModels
import Torch
public import TorchNN
public import SwanSystem

extension UMT5Config {
    /// Returns this configuration with the sizes that the shapes of the weights determine.
    ///
    /// The original checkpoints have no configuration file. Values that no shape determines are unchanged:
    /// `maxDistance` and `eps`.
    ///
    /// - Parameter source: The weights of an encoder in Wan's own names (`inWanNames()`).
    /// - Throws: `invalidWeights` if a weight that every encoder has is missing.
    public func fitted(to source: any WeightSource) throws(SwanError) -> UMT5Config {
        guard !source.generatesTensors else { return self }
        func shape(_ key: String) throws(SwanError) -> [Int] {
            guard let shape = try source.shape(key), shape.count == 2 else {
                throw SwanError(
                    .invalidWeights,
                    "there is no 2-dimensional weight \(key): these are not the weights of a "
                        + "UMT5 encoder"
                )
            }
            return shape
        }
        var config = self
        let tokens = try shape("token_embedding.weight")
        (config.vocabulary, config.dim) = (tokens[0], tokens[1])
        let distances = try shape("blocks.0.pos_embedding.embedding.weight")
        (config.buckets, config.heads) = (distances[0], distances[1])
        let width = try shape("blocks.0.attn.q.weight")[0]
        guard config.heads > 0, width % config.heads == 0 else {
            throw SwanError(
                .invalidWeights,
                "blocks.0.attn.q.weight has \(width) rows, not a multiple of the \(config.heads) heads"
            )
        }
        config.headDim = width / config.heads
        config.ffnDim = try shape("blocks.0.ffn.fc1.weight")[0]
        config.layers = source.layers(under: "blocks.")
        try config.validate()
        return config
    }
}
