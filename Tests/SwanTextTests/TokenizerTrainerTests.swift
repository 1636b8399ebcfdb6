import Foundation
import Testing

@testable import SwanText
import SwanSystem

@Suite struct TokenizerTrainerTests {
    private let sentences = [
        "a watercolour painting of a fox in the snow",
        "a pencil drawing of a fox in the woods",
        "an oil painting of a street at night, soft light",
        "no change", "a street in the snow", "a drawing of the woods at night",
    ]

    @Test func trainsWithTheLayoutOfT5() throws {
        let model = try TokenizerTrainer.train(sentences: sentences, vocabularySize: 320)
        let tokenizer = try Tokenizer(data: model, rareText: .bytes)
        #expect(tokenizer.vocabularySize <= 320)
        #expect(tokenizer.vocabularySize > 259)
        #expect(tokenizer.padID == 0)
        #expect(tokenizer.endID == 1)
        #expect(tokenizer.unknownID == 2)
        let text = "a fox, 一只狐狸 🦊"
        let tokens = try tokenizer.tokens(of: text)
        #expect(!tokens.contains(2))
        #expect(try tokenizer.text(of: tokens) == text)
    }

    @Test(arguments: [TokenizerTrainer.Normalization.nmtNFKC, .identity])
    func trainingIsReproducible(
        normalization: TokenizerTrainer.Normalization,
    ) throws {
        let models = try (0..<2).map { _ in
            try TokenizerTrainer.train(
                sentences: sentences,
                vocabularySize: 300,
                normalization: normalization
            )
        }
        #expect(models[0] == models[1])
    }

    @Test func usesTheChosenNormalization() throws {
        for (normalization, isFolded) in [
            (TokenizerTrainer.Normalization.nmtNFKC, true), (.identity, false),
        ] {
            let model = try TokenizerTrainer.train(
                sentences: sentences,
                vocabularySize: 300,
                normalization: normalization
            )
            let tokenizer = try Tokenizer(data: model, rareText: .bytes)
            let isSame = try tokenizer.tokens(of: "f²") == tokenizer.tokens(of: "f2")
            #expect(isSame == isFolded)
        }
    }

    @Test func reportsUntrainableInput() {
        let small = #expect(throws: SwanError.self) {
            try TokenizerTrainer.train(sentences: sentences, vocabularySize: 259)
        }
        #expect(small?.code == .invalidArgument)
        let empty = #expect(throws: SwanError.self) {
            try TokenizerTrainer.train(sentences: [], vocabularySize: 300)
        }
        #expect(empty?.code == .trainingFailed)
    }
}
