import Foundation
import SwanSystem
import Testing

@testable import SwanText

/// Marks that the files of a tokenizer add (Goldens/added_tokens.py).
@Suite struct AddedTokenTests {
    private struct Variants: Decodable {
        let variants: [Variant]
    }

    private struct Variant: Decodable {
        let name: String
        let prompts: [Prompt]

        /// A text and its ids.
        struct Prompt: Decodable {
            let text: String
            let ids: [Int32]

            init(from decoder: any Decoder) throws {
                var pair = try decoder.unkeyedContainer()
                (text, ids) = (try pair.decode(String.self), try pair.decode([Int32].self))
            }
        }
    }

    private let folder = FileManager.default.temporaryDirectory.appending(
        path: "swan-\(UUID().uuidString)"
    )
    private let goldens: Goldens

    init() throws { goldens = try Goldens.load() }

    private func path(_ name: String) -> String {
        folder.appending(path: name).path(percentEncoded: false)
    }

    private func withFolder(_ body: () throws -> Void) throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try goldens.model.write(to: folder.appending(path: "spiece.model"))
        try body()
    }

    /// Writes a variant's files; the values are those of its JSON.
    private func write(_ variant: [String: Any], _ base: [String: Any]) throws {
        for name in try FileManager.default.contentsOfDirectory(atPath: path(""))
        where name.hasSuffix(".json") {
            try FileManager.default.removeItem(atPath: path(name))
        }
        var files = try #require(variant["files"] as? [String: Any])
        var tokenizer = base
        tokenizer["added_tokens"] = variant["added"]
        files["tokenizer.json"] = tokenizer
        for (name, content) in files {
            try JSONSerialization.data(withJSONObject: content)
                .write(to: folder.appending(path: name))
        }
    }

    @Test func encodeLikeTransformers() throws {
        let file = try Data(contentsOf: Goldens.folder.appending(path: "added_tokens.json"))
        let variants = try JSONDecoder().decode(Variants.self, from: file).variants
        let contents = try #require(JSONSerialization.jsonObject(with: file) as? [String: Any])
        let list = try #require(contents["variants"] as? [[String: Any]])
        let base = try #require(
            JSONSerialization.jsonObject(
                with: Data(contentsOf: Goldens.folder.appending(path: "text_tokenizer.json"))
            ) as? [String: Any]
        )
        #expect(variants.count == 9)
        try withFolder {
            for (variant, content) in zip(variants, list) {
                try write(content, base)
                for name in ["spiece.model", "tokenizer.json"] {
                    let tokenizer = try Tokenizer(contentsOf: path(name))
                    #expect(variant.prompts.count == 70)
                    for prompt in variant.prompts {
                        let ids = try tokenizer.tokens(of: prompt.text)
                        #expect(
                            ids == prompt.ids,
                            "\(variant.name), \(name): \(visible(prompt.text))"
                        )
                    }
                }
            }
        }
    }

    @Test func tokensThatAreNoPiecesFollowTheVocabulary() throws {
        try withFolder {
            try Data(#"{"<look>": 7, "<style>": 3}"#.utf8)
                .write(to: folder.appending(path: "added_tokens.json"))
            let tokenizer = try Tokenizer(contentsOf: path("spiece.model"))
            let plain = try Tokenizer(data: goldens.model)
            let count = Int32(plain.vocabularySize)
            #expect(tokenizer.vocabularySize == plain.vocabularySize + 2)
            #expect(tokenizer.id(ofPiece: "<style>") == count)
            #expect(tokenizer.piece(count + 1) == "<look>")
            #expect(tokenizer.piece(count + 2) == nil)
            let ids = try tokenizer.tokens(of: "a fox <look>")
            #expect(ids.last == count + 1)
            #expect(try tokenizer.text(of: ids) == "a fox <look>")
            #expect(throws: SwanError.self) {
                try tokenizer.requireVocabulary(within: plain.vocabularySize + 1)
            }
        }
    }

    @Test(arguments: ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"])
    func aDamagedFileIsNamed(_ name: String) throws {
        try withFolder {
            try Data(#"{"added_tokens": [{"id": 3}], "additional_special_tokens": 5"#.utf8)
                .write(to: folder.appending(path: name))
            let error = #expect(throws: SwanError.self) {
                try Tokenizer(contentsOf: path("spiece.model"))
            }
            #expect(error?.code == .invalidModel)
            #expect(error?.message.contains(name) ?? false, "\(error?.message ?? "")")
        }
    }
}
