/// A network that takes part in a method: either weights that one optimizer updates together, or a
/// frozen network.
///
/// Networks that are trained by the same gradients, such as a transformer and its text encoder,
/// form one role, with a prefix for each in their keys.
package struct Role: Sendable {
    /// The name of the role in updates and checkpoints.
    package let name: String
    /// How the weights are trained; nil for a frozen network.
    package let training: Training?

    /// How the weights of a role are trained.
    package struct Training: Sendable {
        /// The optimizer, its schedule and the moving average.
        package let options: OptimizerOptions
        /// Whether a weight of the given key and shape is a hidden layer's matrix that Muon may
        /// update. A network's first and last layers do not count.
        package let isHiddenMatrix: @Sendable (String, [Int]) -> Bool

        /// Whether Muon updates a weight of this key and shape.
        func learnsByMuon(_ key: String, _ shape: [Int]) -> Bool {
            options.muon ?? false && isHiddenMatrix(key, shape)
        }
    }

    /// Creates a trained role. The loop holds its weights, their moments and their moving average.
    ///
    /// - Parameter isHiddenMatrix: Selects the weights to update by Muon if the options enable it;
    ///   none by default.
    package static func trained(
        _ name: String,
        by options: OptimizerOptions,
        isHiddenMatrix: @escaping @Sendable (String, [Int]) -> Bool = { _, _ in false }
    ) -> Role {
        Role(name: name, training: Training(options: options, isHiddenMatrix: isHiddenMatrix))
    }

    /// Creates a role that never changes. The method builds and holds the network; checkpoints
    /// store only its name.
    package static func frozen(_ name: String) -> Role { Role(name: name, training: nil) }
}
