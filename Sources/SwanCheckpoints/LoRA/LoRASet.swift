package import SwanSystem
package import TorchNN

/// The LoRAs of a model, in the order in which they are applied.
package struct LoRASet: Sendable {
    package let loras: [LoRA]
    /// Whether layers add them at every call, so that their strengths can be changed.
    package let isLive: Bool
    /// Whether a key that has no place in the model is an error.
    package let isStrict: Bool

    /// Creates a set; none by default.
    package init(_ loras: [LoRA] = [], live: Bool = false, isStrict: Bool = false) {
        self.loras = loras
        isLive = live
        self.isStrict = isStrict
    }

    /// The weights of a transformer with the LoRAs applied.
    package func applied(to source: any WeightSource) throws(SwanError) -> any WeightSource {
        guard !loras.isEmpty else { return source }
        return try LoRAWeights(source, loras, live: isLive, isStrict: isStrict)
    }
}
