package import Torch
import SwanSystem

/// Which weights of a trained network are meant.
package enum WeightKind: Sendable {
    /// Those that gradients move.
    case weights
    /// Their moving averages.
    case averages
}

/// Writes the weights of trained networks for other programs, with every checkpoint.
package struct WeightExport: Sendable {
    /// Weights under a name.
    package struct Part: Sendable {
        package let name, role: String
        package let kind: WeightKind

        /// Names the weights of a role.
        package init(_ name: String, of role: String, _ kind: WeightKind) {
            self.name = name
            self.role = role
            self.kind = kind
        }
    }

    private let parts: @Sendable (Int) -> [Part]
    private let write: @Sendable (Int, [String: [String: Tensor]]) throws -> Void

    /// Creates an export.
    ///
    /// - Parameters:
    ///   - parts: What is written after a step; the same on all ranks.
    ///   - write: Writes the weights after a step, by the names of the parts and by key. Only the
    ///     first rank calls it.
    package init(
        parts: @escaping @Sendable (Int) -> [Part],
        write: @escaping @Sendable (Int, [String: [String: Tensor]]) throws -> Void
    ) {
        self.parts = parts
        self.write = write
    }

    /// Puts the parts together and writes them; all ranks call this.
    func write(_ state: TrainingState, _ plan: MicroBatchPlan) throws {
        var found: [String: [String: Tensor]] = [:]
        for part in parts(state.step) {
            guard let network = state.networks[part.role] else {
                throw SwanError(.invalidArgument, "\(part.role) is not a trained role")
            }
            found[part.name] = try network.whole(part.kind, keeping: plan.isFirst)
        }
        guard let ranks = plan.ranks else { return try write(state.step, found) }
        try ranks.alone { try write(state.step, found) }
    }
}
