import Torch

/// What one micro-batch contributes to an update.
struct MicroBatch: Sendable {
    /// The gradient of each parameter.
    let gradients: [Tensor]
    private let losses: [String: Tensor]
    /// Tensors for later updates, under names prefixed with the micro-batch's position.
    let carry: [String: Tensor]

    /// Computes the gradients of an update's loss with respect to the parameters of its role.
    init<Batch>(
        _ update: Update<Batch>,
        _ batch: Batch,
        _ place: BatchPlace,
        _ networks: Networks,
        _ parameters: [Tensor],
        _ carry: [String: Tensor]
    ) throws {
        let prefix = "\(place.part)/"
        var carried: [String: Tensor] = [:]
        for (key, tensor) in carry where key.hasPrefix(prefix) {
            carried[String(key.dropFirst(prefix.count))] = tensor
        }
        let loss = try update.loss(batch, place, networks, &carried)
        let found = try Torch.gradients(of: loss.total, for: parameters)
        gradients = try zip(found, parameters).map { gradient, parameter in
            try gradient ?? parameter.detached().zerosLike()
        }
        losses = try loss.parts.mapValues { try $0.detached() }
        self.carry = Dictionary(
            uniqueKeysWithValues: carried.map { (prefix + $0.key, $0.value) }
        )
    }

    /// Returns the mean of each loss.
    static func losses(of batches: [MicroBatch]) throws -> [String: Double] {
        let sums = try batches.reduce(into: [:]) {
            $0.merge(try $1.losses.mapValues { try $0.item() }, uniquingKeysWith: +)
        }
        return sums.mapValues { $0 / Double(batches.count) }
    }
}
