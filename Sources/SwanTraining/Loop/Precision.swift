package import Torch
import TorchNN

/// What a network computes in while it is trained.
///
/// Weights, their averages and the optimizer's moments are float32 whatever this is, and so are losses
/// (https://arxiv.org/abs/1710.03740). bfloat16 has the range of float32: the loss needs no scaling.
public enum Precision: String, Codable, Sendable {
    case float32, bfloat16

    package var dtype: DType {
        switch self {
        case .float32: .float32
        case .bfloat16: .bfloat16
        }
    }
}

extension Weights {
    /// Leaves of float32 as a network sees them, where they are. They are converted within the graph,
    /// so that gradients reach them in float32.
    package init(leaves: [String: Tensor], _ precision: Precision? = nil) {
        self.init(
            DictionaryWeights(leaves),
            dtype: (precision ?? .float32).dtype,
            device: leaves.values.first?.device ?? .cpu
        )
    }
}
