import SwanCheckpoints
import SwanModels
import SwanSystem
import TorchNN

extension GenerationModel {
    /// A model whose first step is below this begins with footage, not with noise.
    private static let leastFirstStep = 900

    /// Throws for a causal model that was trained to restyle: from pure noise it makes noise.
    static func requireGenerating(
        _ stream: StreamConfiguration,
        _ path: String
    ) throws(SwanError) {
        guard stream.steps.first ?? 0 < leastFirstStep else { return }
        throw SwanError(
            .invalidModel,
            "\(path): this is a causal model for streaming, whose first step is "
                + "\(stream.steps.first ?? 0) of 1000; use it with 'swan stream'"
        )
    }

    /// Opens the transformer of a causal model with LoRAs applied.
    func causalTransformer() throws -> CausalWanTransformer {
        let (source, config) = try transformerWeights(.transformer)
        return try folder.require(.transformer).network(source, dtype, device) {
            weights throws(SwanError) in try CausalWanTransformer(weights, config)
        }
    }
}
