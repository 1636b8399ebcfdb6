import SwanSystem
import TorchNN

extension LoRA {
    /// The changes to one weight.
    struct Difference: Sendable {
        /// A value in place of the weight.
        var replacement: String?
        /// The change of a matrix and its factor.
        var delta: (change: LoRADelta, factor: Double)?
        /// The norms that the changed weight gets, and the axis that they belong to.
        var norms: (key: String, axis: Int)?
        /// The key of a full difference, which has the shape of the weight, and its factor.
        var plain: (key: String, factor: Double)?

        /// The low-rank product, if that is all of the matrix's change.
        var addition: (down: String, up: String, factor: Double)? {
            guard norms == nil, replacement == nil, let (change, factor) = delta,
                let (down, up) = change.matrices
            else { return nil }
            return (down, up, factor)
        }
    }

    /// What a LoRA changes in a model.
    struct Match: Sendable {
        /// The changes, by the key of the weight that they apply to.
        var differences: [String: Difference]
        /// What was left out, for the user; nil if nothing was.
        var note: String?
    }

    /// Finds the weights of a model that this LoRA changes.
    ///
    /// Keys for modules that the model does not have are left out: LoRAs are used with variants of
    /// the model that they were trained for.
    ///
    /// - Parameter isStrict: Whether such keys are an error.
    /// - Throws: One error that lists the keys with another shape than the model's, or with a missing
    ///   counterpart; or all, if none fits.
    func match(
        _ model: any WeightSource,
        isStrict: Bool = false
    ) throws(SwanError) -> Match {
        var matching = LoRAMatching(self, model)
        for (module, change) in changes.sorted(by: { $0.key < $1.key }) {
            try matching.match(module, change)
        }
        let leftOut = matching.leftOut + otherKeys
        let isRefused = isStrict && !leftOut.isEmpty || matching.found.isEmpty
        guard matching.problems.isEmpty, !isRefused else {
            let misfits = matching.problems + leftOut
            let head =
                matching.found.isEmpty
                ? "none of its \(source.keys.count) keys fits"
                : "\(misfits.count) of its \(source.keys.count) keys do not fit"
            throw SwanError(
                .invalidWeights,
                Self.list(
                    "\(name): \(head) the model\(try matching.hint()):",
                    misfits.map { "\($0.key): \($0.reason)" }
                )
            )
        }
        return Match(
            differences: matching.found,
            note: try note(leftOut.map(\.key), matching)
        )
    }

    /// A message about the keys that were left out.
    private func note(_ keys: [String], _ matching: LoRAMatching) throws(SwanError) -> String? {
        let keys = keys.map { $0.prefix { $0 != " " } }
        guard let first = keys.first, let last = keys.last else { return nil }
        let isOne = keys.count == 1
        return "\(name): \(keys.count) of its \(source.keys.count) keys "
            + (isOne ? "has no place in this model and is" : "have no place in this model and are")
            + " left out, such as \(isOne ? first : "\(first) and \(last)")\(try matching.hint())"
    }
}
