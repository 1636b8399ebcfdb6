import Foundation
import Testing

@testable import SwanText
import SwanSystem

/// Tests `tokenizer.json` files converted from a SentencePiece model.
@Suite struct UnigramTokenizerFileTests {
    private let goldens: Goldens
    private let file: Data

    init() throws {
        goldens = try Goldens.load()
        file = try Data(contentsOf: Goldens.folder.appending(path: "text_tokenizer.json"))
    }

    /// The file with one occurrence of a part replaced; the part must occur exactly once.
    private func changed(_ part: String, _ replacement: String) throws -> Data {
        let text = String(decoding: file, as: UTF8.self)
        try #require(text.components(separatedBy: part).count == 2, "\(part)")
        return Data(text.replacing(part, with: replacement).utf8)
    }

    @Test func encodesLikeTheOriginalModel() throws {
        let tokenizer = try Tokenizer(data: file)
        let model = try Tokenizer(data: goldens.model)
        #expect(tokenizer.vocabularySize == model.vocabularySize)
        #expect(tokenizer.padID == 0 && tokenizer.endID == 1 && tokenizer.unknownID == 2)
        for golden in goldens.tokens {
            let prompt = try tokenizer.encode(
                golden.text,
                maxTokens: golden.limit,
                allowsEmpty: true
            )
            #expect(prompt.ids == golden.ids, "\(visible(golden.text))")
        }
        for (text, _) in goldens.cleaning.map({ ($0[0], $0[1]) }) {
            #expect(try tokenizer.tokens(of: text) == model.tokens(of: text), "\(visible(text))")
        }
    }

    @Test func encodesRareTextAsBytes() throws {
        let tokenizer = try Tokenizer(data: file, rareText: .bytes)
        let model = try Tokenizer(data: goldens.model, rareText: .bytes)
        let text = "🦊❄️ 一只狐狸"
        #expect(try tokenizer.tokens(of: text) == model.tokens(of: text))
        #expect(try tokenizer.text(of: tokenizer.tokens(of: text)) == text)
    }

    /// The form of older versions of transformers: words first, then the marker for spaces.
    @Test func readsTheOlderForm() throws {
        let old = try changed(
            #""pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true}"#,
            #""pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},{"type":"Metaspace","replacement":"▁","add_prefix_space":true}]}"#
        )
        let (tokenizer, model) = (try Tokenizer(data: old), try Tokenizer(data: goldens.model))
        let text = "  a fox   in the snow "
        #expect(try tokenizer.tokens(of: text) == model.tokens(of: text))
        let bare = try Tokenizer(
            data: try changed(
                #""pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always""#,
                #""pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"never""#
            )
        )
        #expect(try bare.tokens(of: "fox") != model.tokens(of: "fox"))
    }

    /// Added tokens after the vocabulary are matched literally.
    @Test func addedTokens() throws {
        let size = try Tokenizer(data: goldens.model).vocabularySize
        let more = try changed(
            #""added_tokens":["#,
            #""added_tokens":[{"id":\#(size),"content":"<extra_id_0>","special":true},"#
        )
        let tokenizer = try Tokenizer(data: more)
        #expect(tokenizer.vocabularySize == size + 1)
        let tokens = try tokenizer.tokens(of: "a<extra_id_0>b")
        #expect(tokens.contains(Int32(size)))
    }

    @Test func namesUnreadableFiles() throws {
        func message(_ data: Data) -> String {
            do {
                _ = try Tokenizer(data: data)
                return "no error"
            } catch {
                #expect(error.code == .invalidModel)
                return error.message
            }
        }
        #expect(message(Data("{}".utf8)).contains("is not the tokenizer.json of a unigram model"))
        #expect(message(Data("{\"model\"".utf8)).contains("not the tokenizer.json"))
        #expect(
            try message(changed(#""type":"Unigram""#, #""type":"BPE""#))
                .contains("unsupported tokenizer type BPE")
        )
        #expect(
            try message(changed(#"{"type":"Strip","#, #"{"type":"Lowercase","#))
                .contains("the normalizer Lowercase")
        )
        #expect(
            try message(changed(#""unk_id":2"#, #""unk_id":99999"#)).contains("unk_id")
        )
        #expect(
            try message(changed(#""precompiled_charsmap":""#, #""precompiled_charsmap":"****"#))
                .contains("not Base64")
        )
        #expect(
            try message(changed(#"["</s>",0.0]"#, #"["</t>",0.0]"#)).contains("has no </s>")
        )
    }

    /// A damaged table of normalization rules is not passed to the library.
    @Test func refusesADamagedTable() throws {
        let text = String(decoding: file, as: UTF8.self)
        let range = try #require(text.range(of: #""precompiled_charsmap":""#))
        let start = text.distance(from: text.startIndex, to: range.upperBound)
        var bytes = Array(text.utf8)
        let offset = Array(text.prefix(start).utf8).count
        // The bytes 0, 0, 255 in Base64: offsets far outside the table.
        let damage = Array("AAD/".utf8)
        for index in 40..<80 { bytes[offset + index] = damage[index % 4] }
        let error = #expect(throws: SwanError.self) { try Tokenizer(data: Data(bytes)) }
        #expect(error?.message.contains("normalization rules") == true)
    }

    /// The library recurses once per byte of a piece.
    @Test func refusesAnOverlongPiece() throws {
        func file(_ length: Int) throws -> Data {
            let piece = String(repeating: "a", count: length)
            return try changed(#"["</s>",0.0]"#, #"["</s>",0.0],["\#(piece)",-1.0]"#)
        }
        for length in [1_001, 1_000_000] {
            let error = #expect(throws: SwanError.self) { try Tokenizer(data: file(length)) }
            #expect(error?.code == .invalidModel)
            #expect(error?.message.contains("a piece of its vocabulary has") == true)
        }
    }

    /// The same for SentencePiece models, for every encoding of the field number.
    @Test(arguments: [[0x0A], [0x8A, 0x80, 0x80, 0x80, 0x10]] as [[UInt8]])
    func refusesAnOverlongPieceInASentencePieceModel(key: [UInt8]) throws {
        // A piece of 200,000 bytes: its length as a varint, and the length of the enclosing message.
        let piece = [0x0A, 0xC0, 0x9A, 0x0C] + [UInt8](repeating: 0x61, count: 200_000)
        let model = goldens.model + Data(key + [0xC4, 0x9A, 0x0C] + piece)
        #expect(throws: SwanError.self) { try Tokenizer(data: model) }
    }
}
