import SwanCheckpoints
import SwanDistributed
import SwanModels
import SwanSystem
import SwanText
import Synchronization
import Torch

extension GenerationJob {
    /// Returns the embeddings [1, T, C] of the prompt and, for guidance, the negative prompt.
    func encodePrompts() throws -> [Tensor] {
        if let given = try plan.givenEmbeddings(request) {
            return try given.map { try $0.to(model.device, model.dtype) }
        }
        let known = generator.embeddings.withLock { $0 }
        let missing = Set(plan.prompts.filter { known[$0] == nil }).sorted()
        if !missing.isEmpty { try encode(missing) }
        return try generator.embeddings.withLock { embeddings in
            try plan.prompts.map { text in
                guard let prompt = embeddings[text] else {
                    throw SwanError(.invalidRequest, "the prompt '\(text)' was not encoded")
                }
                promptIssues += prompt.issues
                return prompt.embedding
            }
        }
    }

    /// Encodes prompts. Unless ranks share its weights, rank 0 alone reads the encoder, which is
    /// larger than some transformers.
    private func encode(_ prompts: [String]) throws {
        let shards = try shards(of: .textEncoder)
        let own = try shards.map { try self.embeddings(of: prompts, sharing: $0) }
        var issues = prompts.map { _ in [PromptIssue]() }
        let embeddings = try fromFirst {
            let encoded = try own ?? self.embeddings(of: prompts, sharing: nil)
            issues = encoded.map(\.issues)
            return encoded.map(\.embedding)
        }
        for (prompt, (embedding, issues)) in zip(prompts, zip(embeddings, issues)) {
            let kept = PromptEmbedding(embedding: try embedding.to(model.device), issues: issues)
            generator.embeddings.withLock { $0[prompt] = kept }
        }
    }

    /// Encodes prompts as one batch, so that the weights are read once.
    private func embeddings(
        of prompts: [String],
        sharing shards: ProcessGroup?
    ) throws -> [PromptEmbedding] {
        let encoder = try open(.textEncoder, onAllRanks: shards != nil) {
            try model.textEncoder(sharing: shards)
        }
        let tokenizer = try model.folder.tokenizer(for: encoder.config)
        return try timed(\.text) { try model.embeddings(of: prompts, encoder, tokenizer) }
    }
}

extension GenerationModel {
    /// Encodes prompts as one batch; each embedding is [1, T, C].
    func embeddings(
        of prompts: [String],
        _ encoder: UMT5Encoder,
        _ tokenizer: Tokenizer
    ) throws -> [PromptEmbedding] {
        let tokenized = try prompts.map { try tokenizer.tokens(of: $0, transformerConfig.textLen) }
        let rows = try encoder.encode(tokenized.map(\.tokens))  // [B, T, C]
        try requireFinite(rows, .textEncoder, "a prompt's embedding")
        return try tokenized.enumerated().map { row, prompt in
            let embedding = try rows.narrowed(0, row, 1).narrowed(1, 0, prompt.tokens.count)
                .to(device, dtype).contiguous()
            return PromptEmbedding(embedding: embedding, issues: prompt.issues)
        }
    }
}

extension Tokenizer {
    /// Returns a prompt's token IDs without padding, at most `limit`.
    ///
    /// An empty (negative) prompt is a text without words.
    fileprivate func tokens(
        of text: String,
        _ limit: Int
    ) throws(SwanError) -> (tokens: [Int32], issues: [PromptIssue]) {
        guard !cleanPrompt(text).isEmpty else { return ([endID], []) }
        let prompt = try encode(text, maxTokens: limit)
        return (prompt.tokens, prompt.issues)
    }
}
