package import SwanSystem
package import TorchNN

/// The LoRAs of a model, in the order in which they are applied.
package struct LoRASet: Sendable {
    package let loras: [LoRA]
    /// Whether layers add them at every call, so that their strengths can be changed.
    package let isLive: Bool

    /// Creates a set; none by default.
    package init(_ loras: [LoRA] = [], live: Bool = false) {
        self.loras = loras
        isLive = live
    }

    /// The weights of a transformer with the LoRAs applied.
    package func applied(to source: any WeightSource) throws(SwanError) -> any WeightSource {
        loras.isEmpty ? source : try LoRAWeights(source, loras, live: isLive)
    }
}
