import Foundation

@testable import SwanText

/// The outputs of ftfy, html, regex and transformers, written by Goldens/text.py.
struct Goldens: Decodable {
    let pages: [String: [UInt32]]
    /// Pairs of a text and the cleaned text.
    let cleaning: [[String]]
    /// A small SentencePiece model.
    let model: Data
    let tokens: [TokenCase]

    struct TokenCase: Decodable {
        let text: String
        let limit: Int
        let ids: [Int32]
        let count: Int
    }

    /// The folder of the files.
    static let folder = URL(filePath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Goldens")

    static func load() throws -> Goldens {
        let file = folder.appending(path: "text.json")
        return try JSONDecoder().decode(Goldens.self, from: Data(contentsOf: file))
    }
}

/// A text in which characters other than plain ASCII are replaced by their code points.
func visible(_ text: String) -> String {
    text.unicodeScalars.map { scalar in
        ("!"..."~").contains(scalar) ? String(scalar) : "<" + String(scalar.value, radix: 16) + ">"
    }.joined()
}
