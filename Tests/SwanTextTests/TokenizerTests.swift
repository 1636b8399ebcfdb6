import Foundation
import Testing

@testable import SwanText
import SwanSystem

@Suite struct TokenizerTests {
    private let goldens: Goldens
    private let tokenizer: Tokenizer

    init() throws {
        goldens = try Goldens.load()
        tokenizer = try Tokenizer(data: goldens.model)
    }

    @Test func encodesLikeTheReference() throws {
        #expect(goldens.tokens.count > 200)
        for golden in goldens.tokens {
            let prompt = try tokenizer.encode(
                golden.text,
                maxTokens: golden.limit,
                allowsEmpty: true
            )
            #expect(prompt.ids == golden.ids, "\(visible(golden.text))")
            #expect(prompt.count == golden.count, "\(visible(golden.text))")
            #expect(
                prompt.tokens == Array(golden.ids.prefix(golden.count)),
                "\(visible(golden.text))"
            )
        }
    }

    @Test func hasTheLayoutOfT5() {
        #expect(tokenizer.padID == 0)
        #expect(tokenizer.endID == 1)
        #expect(tokenizer.unknownID == 2)
        #expect(tokenizer.piece(0) == "<pad>")
        #expect(tokenizer.id(ofPiece: "</s>") == 1)
        #expect(tokenizer.id(ofPiece: "no such piece") == nil)
        #expect(tokenizer.piece(Int32(tokenizer.vocabularySize)) == nil)
        #expect(tokenizer.piece(-1) == nil)
    }

    @Test func padsToTheRequestedLength() throws {
        let prompt = try tokenizer.encode("fox")
        #expect(prompt.ids.count == 512)
        #expect(prompt.ids[prompt.count - 1] == 1)
        #expect(prompt.ids[prompt.count...].allSatisfy { $0 == 0 })
        #expect(!prompt.wasTruncated)
        #expect(prompt.issues == [])
    }

    @Test func truncatesALongPromptBeforeTheEndToken() throws {
        let prompt = try tokenizer.encode(String(repeating: "a fox runs ", count: 9_100))
        #expect(prompt.ids.count == 512)
        #expect(prompt.count == 512)
        #expect(prompt.ids.last == 1)
        #expect(prompt.wasTruncated)
        guard case .truncated(let tokens, 512) = prompt.issues.first else {
            Issue.record("\(prompt.issues)")
            return
        }
        #expect(tokens > 9_100 * 3)
    }

    @Test func doesNotTruncateAPromptThatJustFits() throws {
        let count = try tokenizer.tokens(of: "a fox in the snow").count
        #expect(try !tokenizer.encode("a fox in the snow", maxTokens: count + 1).wasTruncated)
        #expect(try tokenizer.encode("a fox in the snow", maxTokens: count).wasTruncated)
        #expect(try tokenizer.encode("a fox", maxTokens: 1).ids == [1])
        #expect(throws: SwanError.self) { try tokenizer.encode("a fox", maxTokens: 0) }
    }

    @Test(arguments: ["", " \n\t", "\u{FEFF}", "&#x200b;\u{1}".replacing("&#x200b;", with: "&#1;")])
    func anEmptyPromptIsAnError(text: String) throws {
        let error = #expect(throws: SwanError.self) { try tokenizer.encode(text) }
        #expect(error?.code == .emptyPrompt)
        #expect(try tokenizer.encode(text, maxTokens: 4, allowsEmpty: true).ids == [1, 0, 0, 0])
    }

    @Test func reportsInvalidUTF8() throws {
        let broken = try tokenizer.encode(bytes: [0x66, 0x6F, 0x78, 0xFF])
        #expect(broken.issues == [.invalidUTF8])
        #expect(broken.text == "fox\u{FFFD}")
        #expect(try tokenizer.encode(bytes: Array("fox".utf8)).issues == [])
    }

    @Test(arguments: ["🦊❄️ 一只狐狸", "ein Fuchs läuft", "a\u{0}b", "\u{10FFFF}\u{E0001}"])
    func encodesUnknownCharactersAsBytes(text: String) throws {
        let tokenizer = try Tokenizer(data: goldens.model, rareText: .bytes)
        let tokens = try tokenizer.tokens(of: text)
        #expect(!tokens.contains(tokenizer.unknownID))
        #expect(tokens.allSatisfy { (0..<Int32(tokenizer.vocabularySize)).contains($0) })
        #expect(try tokenizer.text(of: tokens) == text)
    }

    @Test func refusesIDsOutsideTheVocabulary() {
        for id in [Int32(-1), Int32(tokenizer.vocabularySize), .max, .min] {
            let error = #expect(throws: SwanError.self) { try tokenizer.text(of: [3, id]) }
            #expect(error?.code == .outOfRange)
            #expect(error?.message.contains("\(id)") == true)
        }
    }

    @Test func requiresAnEmbeddingForTheVocabulary() throws {
        try tokenizer.requireVocabulary(within: tokenizer.vocabularySize)
        let error = #expect(throws: SwanError.self) {
            try tokenizer.requireVocabulary(within: tokenizer.vocabularySize - 1)
        }
        #expect(error?.code == .outOfRange)
    }

    @Test func oneTokenizerServesManyThreads() async throws {
        let expected = try tokenizer.encode("a fox in the snow, soft light")
        await withTaskGroup(of: TokenizedPrompt?.self) { group in
            for _ in 0..<32 {
                group.addTask { [tokenizer] in
                    do {
                        return try tokenizer.encode("a fox in the snow, soft light")
                    } catch {
                        return nil
                    }
                }
            }
            for await prompt in group { #expect(prompt == expected) }
        }
    }

    @Test func loadsAFile() throws {
        let path = FileManager.default.temporaryDirectory
            .appending(path: "swan-\(UUID().uuidString).model")
        try goldens.model.write(to: path)
        defer { Self.remove(path) }
        let loaded = try Tokenizer(contentsOf: path.path(percentEncoded: false))
        #expect(loaded.vocabularySize == tokenizer.vocabularySize)
        #expect(try loaded.tokens(of: "fox") == tokenizer.tokens(of: "fox"))
    }

    @Test func namesFilesThatAreNotModels() throws {
        let folder = FileManager.default.temporaryDirectory
        let missing = folder.appending(path: "swan-\(UUID().uuidString)")
        let error = #expect(throws: SwanError.self) {
            try Tokenizer(contentsOf: missing.path(percentEncoded: false))
        }
        #expect(error?.code == .noSuchFile)
        #expect(error?.message.contains(missing.lastPathComponent) == true)

        let directory = #expect(throws: SwanError.self) {
            try Tokenizer(contentsOf: folder.path(percentEncoded: false))
        }
        #expect(directory?.code == .invalidModel)

        for bytes in [Data(), Data("text".utf8), goldens.model.prefix(goldens.model.count / 2)] {
            try bytes.write(to: missing)
            defer { Self.remove(missing) }
            for load in [
                { try Tokenizer(contentsOf: missing.path(percentEncoded: false)) },
                { try Tokenizer(data: bytes) },
            ] {
                #expect(throws: SwanError.self) { try load() }
            }
        }
    }

    @Test func damagedModelsAreRefusedOrUsable() throws {
        var generator = SplitMix64(state: 11)
        var refused = 0
        for _ in 0..<200 {
            var model = [UInt8](goldens.model)
            for _ in 0..<3 {
                // The table of normalization rules is at the end.
                let place = model.count - 1 - Int.random(in: 0..<3_000, using: &generator)
                model[place] = UInt8.random(in: .min ... .max, using: &generator)
            }
            do {
                let damaged = try Tokenizer(data: Data(model))
                _ = try damaged.encode("a fox … ½ ！ ﬁ 一 🦊")
            } catch {
                #expect([.invalidModel, .libraryFailed].contains(error.code))
                refused += 1
            }
        }
        #expect(refused > 50)
    }

    private static func remove(_ file: URL) {
        do {
            try FileManager.default.removeItem(at: file)
        } catch {
            Issue.record(error)
        }
    }
}
