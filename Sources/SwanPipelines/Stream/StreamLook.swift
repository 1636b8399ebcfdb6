import SwanModels
import SwanSystem
import SwanText
import Torch

/// What the chunks of a stream are made to look like: a prompt, and the network that knows it.
struct StreamLook: Sendable {
    let transformer: CausalWanTransformer
    /// The prompt's keys and values, which are the network's own.
    let text: TextConditioning
}

extension StreamModel {
    /// Encodes a prompt for a transformer of this model's size, and reports what had to be changed
    /// in the prompt.
    func look(
        _ prompt: String,
        _ transformer: CausalWanTransformer
    ) throws -> (look: StreamLook, issues: [PromptIssue]) {
        let (embeddings, issues) = try embeddings(of: prompt)
        return (
            StreamLook(transformer: transformer, text: try transformer.text(embeddings)), issues
        )
    }

    /// Loads this model's transformer with LoRAs merged into its weights.
    ///
    /// - Returns: The transformer, and messages about keys that were left out.
    /// - Throws: `invalidRequest` for a model that was not loaded from a folder; otherwise as for
    ///   opening a model with LoRAs.
    func transformer(
        with loras: [GenerationOptions.LoRAFile],
        isStrict: Bool
    ) throws -> (transformer: CausalWanTransformer, notes: [String]) {
        guard let source else {
            throw SwanError(
                .invalidRequest,
                "\(name): was not loaded from a folder, so its LoRAs cannot be changed"
            )
        }
        let changed = try source.with(loras, isStrict: isStrict)
        return (try changed.loadTransformer(dtype, device), changed.loraNotes)
    }
}
