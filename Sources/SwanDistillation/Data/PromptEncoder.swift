import Foundation
import SwanModels
import SwanText
import SwanTraining
import Torch

/// Encodes prompts as the embeddings that transformers see, or finds them in a cache.
struct PromptEncoder: Sendable {
    /// The text encoder and what prepares its tokens.
    struct Network: Sendable {
        let encoder: UMT5Encoder
        let tokenizer: Tokenizer
        /// The maximum number of tokens.
        let limit: Int
    }

    let opened: LazyValue<Network>
    let cache: EmbeddingCache?

    /// Encodes prompts to [B, T, textDim] in float32, with zeros after each prompt.
    ///
    /// Each is encoded alone, so that its numbers do not depend on the others.
    func callAsFunction(_ prompts: [String]) throws -> Tensor {
        let rows = try prompts.map { prompt in
            guard let cache else { return try encoded(prompt).to(.float32) }
            return try cache.embedding(of: prompt) { try encoded(prompt) }.to(.float32)
        }
        let longest = rows.map { $0.size(1) }.max() ?? 0
        return try concatenated(rows.map { try $0.padded([0, 0, 0, longest - $0.size(1)]) })
    }

    /// A prompt as [1, T, textDim], in the encoder's dtype.
    private func encoded(_ prompt: String) throws -> Tensor {
        let network = try opened.value()
        let tokens = try network.tokenizer.encode(
            prompt,
            maxTokens: network.limit,
            allowsEmpty: true
        ).tokens
        return try withoutGradients { try network.encoder.encode([tokens]) }
    }
}

/// A value that is made when it is first needed, by one thread.
final class LazyValue<Value: Sendable>: @unchecked Sendable {
    private let make: @Sendable () throws -> Value
    // `lock` protects `made`.
    private let lock = NSLock()
    private var made: Value?

    /// Creates the value that `make` will return.
    init(_ make: @escaping @Sendable () throws -> Value) { self.make = make }

    /// The value; what `make` throws, each time.
    func value() throws -> Value {
        try lock.withLock {
            if let made { return made }
            let value = try make()
            made = value
            return value
        }
    }
}
