package import Torch
import TorchNN

/// The data type that a network computes in during training.
///
/// Weights, their averages, the optimizer's moments and the losses are always float32
/// (https://arxiv.org/abs/1710.03740). bfloat16 has the range of float32, so no loss scaling is
/// needed.
package enum Precision: String, Codable, Sendable {
    case float32, bfloat16

    package var dtype: DType {
        switch self {
        case .float32: .float32
        case .bfloat16: .bfloat16
        }
    }
}

extension Weights {
    /// Wraps float32 leaves on their device as the weights of a network. They are converted within
    /// the graph, so that their gradients are float32.
    package init(leaves: [String: Tensor], _ precision: Precision? = nil) {
        self.init(
            DictionaryWeights(leaves),
            dtype: (precision ?? .float32).dtype,
            device: leaves.values.first?.device ?? .cpu
        )
    }
}
