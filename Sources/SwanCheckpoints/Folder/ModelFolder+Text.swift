package import SwanModels
import SwanSystem
package import SwanText
package import TorchNN

extension ModelFolder {
    /// The text encoder's files, weights (unread) and configuration.
    ///
    /// - Throws: `invalidModel` if its embeddings do not fit a transformer.
    package func textEncoder(
        for transformer: WanConfig
    ) throws -> (files: Files, source: any WeightSource, config: UMT5Config) {
        let files = try require(.textEncoder)
        let source = try weights(of: files)
        let config = try UMT5Config.read(files, fittedTo: source)
        guard config.dim == transformer.textDim else {
            throw SwanError(
                .invalidModel,
                "\(files.data): the text encoder's width is \(config.dim), but the transformer "
                    + "expects \(transformer.textDim)"
            )
        }
        return (files, source, config)
    }

    /// Opens the tokenizer of a text encoder.
    package func tokenizer(for encoder: UMT5Config) throws -> Tokenizer {
        // Tokenizers with byte pieces spell out rare text; the published one marks it as unknown.
        let isPublished = encoder.vocabulary == UMT5Config.xxl.vocabulary
        let tokenizer = try Tokenizer(
            at: require(.tokenizer).data,
            rareText: isPublished ? .unknownMark : .bytes
        )
        try tokenizer.requireVocabulary(within: encoder.vocabulary)
        return tokenizer
    }
}
