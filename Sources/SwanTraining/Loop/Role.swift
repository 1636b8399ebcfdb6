/// A network that takes part in a method: weights that one optimizer changes together, or a frozen network.
///
/// Networks that learn by the same gradients, such as a transformer and its text encoder, are one role with
/// a prefix for each in their keys.
package struct Role: Sendable {
    /// The name that updates and checkpoints know it by.
    package let name: String
    /// How its weights change; nil for a frozen network.
    package let training: Training?

    /// How the weights of a role change.
    package struct Training: Sendable {
        /// The optimizer, its schedule and the moving average.
        package let options: OptimizerOptions
        /// Says of a key and its weight's shape whether it is a matrix of a hidden layer, which Muon may
        /// change: neither the first layer of a network nor the last.
        package let isHiddenMatrix: @Sendable (String, [Int]) -> Bool

        /// Whether Muon changes a weight of this key and shape.
        func learnsByMuon(_ key: String, _ shape: [Int]) -> Bool {
            options.muon ?? false && isHiddenMatrix(key, shape)
        }
    }

    /// A network whose weights an optimizer changes; the loop keeps them, their moments and their average.
    ///
    /// - Parameter isHiddenMatrix: says which weights Muon changes where the options ask for it; none if
    ///   not given.
    package static func trained(
        _ name: String,
        by options: OptimizerOptions,
        isHiddenMatrix: @escaping @Sendable (String, [Int]) -> Bool = { _, _ in false }
    ) -> Role {
        Role(name: name, training: Training(options: options, isHiddenMatrix: isHiddenMatrix))
    }

    /// A network that never changes. The method builds and holds it; checkpoints have only its name.
    package static func frozen(_ name: String) -> Role { Role(name: name, training: nil) }
}
