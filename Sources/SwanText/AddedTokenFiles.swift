import Foundation
import SwanSystem

/// The tokens that the files beside a tokenizer's model add to it, as transformers reads them.
///
/// - `tokenizer.json`: `added_tokens`
/// - `tokenizer_config.json`: `added_tokens_decoder`, `eos_token` and the like,
///   `additional_special_tokens` or `extra_special_tokens`
/// - if it has no `added_tokens_decoder`: `special_tokens_map.json`, whose keys are the same, and
///   `added_tokens.json`, with ids by text
///
/// Ids in the files are not used: a token that is a piece has the id of the piece, and others follow
/// the vocabulary in the order in which they are added.
struct AddedTokenFiles {
    /// The tokens in the order in which they are added.
    var tokens: [AddedToken] = []
    /// Whether text is split at white space, which then is no piece, also before a token.
    var splitsAtSpaces = false

    /// No files.
    init() {}

    /// Reads the files.
    ///
    /// - Parameter path: The model's file, `spiece.model` or `tokenizer.json`.
    init(besides path: String) throws(SwanError) {
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent()
        func read<Content: Decodable>(
            _ name: String,
            _ type: Content.Type
        ) throws(SwanError) -> Content? {
            try Self.content(folder.appending(path: name).path(percentEncoded: false), type)
        }
        // The model's own file is read with its vocabulary.
        let isOwn = URL(fileURLWithPath: path).lastPathComponent == "tokenizer.json"
        let file = isOwn ? nil : try read("tokenizer.json", TokenizerFile.self)
        let own = file?.added_tokens ?? []
        splitsAtSpaces = file?.pre_tokenizer?.splitsAtSpaces ?? false
        let config = try read("tokenizer_config.json", Settings.self) ?? Settings()
        if let decoder = config.decoder {
            tokens = own + decoder + config.special(besides: own + decoder)
            return
        }
        var settings = config
        if let map = try read("special_tokens_map.json", Settings.self) { settings.add(map) }
        let named = try read("added_tokens.json", [String: Int].self) ?? [:]
        // As in transformers, the additional ones of the map are not among these.
        let special = settings.names(others: config.extra)
        let numbered = named.sorted { ($0.value, $0.key) < ($1.value, $1.key) }.map {
            AddedToken($0.key, isSpecial: special.contains($0.key))
        }
        tokens = own + numbered + settings.special(besides: own + numbered)
    }

    private static func content<Content: Decodable>(
        _ path: String,
        _ type: Content.Type
    ) throws(SwanError) -> Content? {
        guard FileIdentity.isTaken(path) else { return nil }
        do {
            let data = try SmallFile.data(path, atMost: SmallFile.list)
            return try JSONDecoder().decode(type, from: data)
        } catch let error as SwanError {
            throw error.as(.invalidModel)
        } catch {
            throw SwanError(
                .invalidModel,
                "\(path): cannot read the tokens that it adds to the tokenizer: "
                    + "\(error)".printable(limit: 1_000),
                cause: error
            )
        }
    }

    private struct TokenizerFile: Decodable {
        let added_tokens: [AddedToken]?
        let pre_tokenizer: UnigramTokenizerFile.Step?
    }

    /// The keys of `tokenizer_config.json` and `special_tokens_map.json` that add tokens.
    private struct Settings: Decodable {
        /// `added_tokens_decoder`, in the order of its ids.
        private(set) var decoder: [AddedToken]?
        /// `eos_token` and the like by their keys.
        private var named: [String: AddedToken] = [:]
        /// `additional_special_tokens`.
        private(set) var extra: [AddedToken] = []

        init() {}

        init(from coder: any Decoder) throws {
            let values = try coder.container(keyedBy: AnyCodingKey.self)
            for key in values.allKeys {
                switch key.stringValue {
                case "added_tokens_decoder":
                    let tokens = try values.decode([String: AddedToken].self, forKey: key)
                    decoder = tokens.sorted { (Int($0.key) ?? 0) < (Int($1.key) ?? 0) }.map(\.value)
                case "additional_special_tokens", "extra_special_tokens":
                    guard try !values.decodeNil(forKey: key) else { continue }
                    if let list = try? values.decode([AddedToken].self, forKey: key) {
                        extra += list
                    } else {
                        let named = try values.decode([String: AddedToken].self, forKey: key)
                        self.named.merge(named) { $1 }
                    }
                // Others of these names are switches, such as add_bos_token.
                case let name where name.hasSuffix("_token"):
                    named[name] = try? values.decode(AddedToken.self, forKey: key)
                default: continue
                }
            }
        }

        /// The texts of `eos_token` and the like, and of other tokens.
        func names(others: [AddedToken]) -> Set<String> {
            Set((named.values + others).map(\.content))
        }

        mutating func add(_ other: Settings) {
            named.merge(other.named) { $1 }
            if extra.isEmpty { extra = other.extra }
        }

        /// The special tokens that are not among `tokens`: they keep what those say of them.
        func special(besides tokens: [AddedToken]) -> [AddedToken] {
            let known = Set(tokens.map(\.content))
            let first = Self.order.compactMap { named[$0] }
            let others = named.filter { !Self.order.contains($0.key) }.sorted { $0.key < $1.key }
            return (first + others.map(\.value) + extra).filter { !known.contains($0.content) }
                .map(\.asSpecial)
        }

        private static let order = [
            "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token",
            "mask_token",
        ]
    }
}
