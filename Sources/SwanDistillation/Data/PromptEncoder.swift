import Foundation
package import SwanCheckpoints
package import SwanModels
import SwanSystem
import SwanText
import SwanTraining
package import Torch
import TorchNN

/// Encodes prompts as the embeddings that transformers see, or finds them in a cache.
package struct PromptEncoder: Sendable {
    /// The text encoder and what prepares its tokens.
    struct Network: Sendable {
        let encoder: UMT5Encoder
        let tokenizer: Tokenizer
        /// The maximum number of tokens.
        let limit: Int

        /// The tokens of a prompt.
        func tokens(_ prompt: String) throws -> [Int32] {
            try tokenizer.encode(prompt, maxTokens: limit, allowsEmpty: true).tokens
        }
    }

    private let opened: LazyValue<Network>
    /// Where embeddings are kept; nil for nowhere.
    let cache: EmbeddingCache?

    /// Opens the encoder of a transformer of `config`, which is in `folder`; with a cache, when it is
    /// first needed.
    ///
    /// - Parameter cache: The folder that keeps embeddings; nil for none.
    package init(
        _ folder: ModelFolder,
        for config: WanConfig,
        _ dtype: DType,
        _ device: Device,
        cache: String? = nil
    ) throws {
        let limit = config.textLen
        opened = LazyValue { () throws -> Network in
            let (files, source, own) = try folder.textEncoder(for: config)
            let encoder = try files.network(source, dtype, device) { weights throws(SwanError) in
                try UMT5Encoder(weights, own)
            }
            return Network(
                encoder: encoder,
                tokenizer: try folder.tokenizer(for: own),
                limit: limit
            )
        }
        self.cache = try cache.map { path in
            let (files, _, _) = try folder.textEncoder(for: config)
            let weights = try Checkpoint.open(files.data).files
            let all =
                weights + [files.config, try folder.require(.tokenizer).data].compactMap(\.self)
            return try EmbeddingCache(path, files: all, use: "\(dtype), at most \(limit) tokens")
        }
        // Without a cache, a missing or damaged encoder is found before training begins.
        if self.cache == nil { _ = try opened.value() }
    }

    /// Encodes prompts to [B, T, textDim] in float32, with zeros after each prompt.
    ///
    /// Each is encoded alone, so that its numbers do not depend on the others.
    package func callAsFunction(_ prompts: [String]) throws -> Tensor {
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
        let tokens = try network.tokens(prompt)
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
