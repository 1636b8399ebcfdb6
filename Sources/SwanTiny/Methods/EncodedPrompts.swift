import SwanModels
import SwanSystem
import SwanTraining
import Torch
import TorchNN

extension UMT5Encoder {
    /// An encoder over parameters that are being trained.
    init(_ parameters: [String: Tensor], _ config: UMT5Config) throws(SwanError) {
        let weights = Weights(leaves: parameters)
        try self.init(weights, config)
        try weights.finish()
    }
}

/// A batch of prompts as an encoder in training sees them.
struct EncodedPrompts {
    /// [B, L, C], zeros after the end of each prompt.
    let embeddings: Tensor
    /// [B, L, 1]: 1 for tokens, 0 after the end of each prompt.
    let mask: Tensor

    /// Encodes token IDs.
    init(
        _ prompts: [[Int32]],
        by parameters: [String: Tensor],
        _ config: UMT5Config
    ) throws(SwanError) {
        embeddings = try UMT5Encoder(parameters, config).encode(prompts)
        let length = embeddings.size(1)
        let values = prompts.flatMap { prompt in
            (0..<length).map { $0 < prompt.count ? Float(1) : 0 }
        }
        mask = try Tensor(values, [prompts.count, length, 1]).to(embeddings.device)
    }

    /// The mean squared error of the tokens' embeddings [B, L, C].
    func squaredError(_ target: Tensor) throws(SwanError) -> Tensor {
        try (embeddings - target).pow(2).sum() / (mask.sum() * Double(embeddings.size(2)))
    }
}
