import SwanSystem
import Torch

/// What one micro-batch contributes to an update.
struct MicroBatch: Sendable {
    /// The gradient of each parameter.
    private(set) var gradients: [Tensor]
    private let losses: [String: Tensor]
    /// Tensors for later updates, under names prefixed with the micro-batch's position.
    let carry: [String: Tensor]

    /// Computes the gradients of an update's loss with respect to the parameters of its role.
    ///
    /// - Parameter arrived: Called with each gradient while others are computed; see `gradients`.
    init<Batch>(
        _ update: Update<Batch>,
        _ batch: Batch,
        _ place: BatchPlace,
        _ networks: Networks,
        _ parameters: [Tensor],
        _ carry: [String: Tensor],
        arrived: (@Sendable (Int, Tensor) throws(SwanError) -> Void)? = nil
    ) throws {
        let prefix = "\(place.part)/"
        var carried: [String: Tensor] = [:]
        for (key, tensor) in carry where key.hasPrefix(prefix) {
            carried[String(key.dropFirst(prefix.count))] = tensor
        }
        let loss = try update.loss(batch, place, networks, &carried)
        let found =
            if let arrived {
                try Torch.gradients(of: loss.total, for: parameters, arrived: arrived)
            } else {
                try Torch.gradients(of: loss.total, for: parameters)
            }
        gradients = try zip(found, parameters).map { gradient, parameter in
            try gradient ?? parameter.detached().zerosLike()
        }
        losses = try loss.parts.mapValues { try $0.detached() }
        self.carry = Dictionary(
            uniqueKeysWithValues: carried.map { (prefix + $0.key, $0.value) }
        )
    }

    /// The same without gradients, which are summed elsewhere.
    var withoutGradients: MicroBatch {
        var rest = self
        rest.gradients = []
        return rest
    }

    /// The values of the losses by name.
    func lossValues() throws -> [String: Double] { try losses.mapValues { try $0.item() } }
}
