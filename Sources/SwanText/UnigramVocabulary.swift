/// The vocabulary of a unigram model and its treatment of text, from which a SentencePiece model is made.
package struct UnigramVocabulary {
    /// A piece, its log probability and its kind.
    package struct Piece {
        let text: [UInt8]
        let score: Float
        package let kind: Kind

        /// Creates a piece from its text in UTF-8.
        package init(_ text: [UInt8], _ score: Float, _ kind: Kind) {
            self.text = text
            self.score = score
            self.kind = kind
        }
    }

    /// The kinds of pieces, with their numbers in SentencePiece and in GGUF files.
    package enum Kind: Int {
        case normal = 1
        case unknown = 2
        case control = 3
        case userDefined = 4
        case unused = 5
        case byte = 6
    }

    /// The pieces by their ids.
    package var pieces: [Piece]
    /// The compiled rules of normalization; empty for none.
    package let rules: [UInt8]
    /// Whether a space is put before a text, and whether repeated ones are removed.
    package let addsPrefix, removesSpaces: Bool

    /// Creates a vocabulary.
    package init(
        pieces: [Piece] = [],
        rules: [UInt8],
        addsPrefix: Bool,
        removesSpaces: Bool
    ) {
        self.pieces = pieces
        self.rules = rules
        self.addsPrefix = addsPrefix
        self.removesSpaces = removesSpaces
    }

    /// The serialized SentencePiece model (sentencepiece_model.proto).
    ///
    /// - Parameter unknown: The id of the piece for unknown text.
    package func model(unknown: Int) -> [UInt8] {
        var model = Message()
        for piece in pieces {
            var entry = Message()
            entry.append(piece.text, as: 1)
            entry.append(piece.score, as: 2)
            entry.append(piece.kind.rawValue, as: 3)
            model.append(entry.bytes, as: 1)
        }
        var trainer = Message()
        trainer.append(1, as: 3)  // model_type: unigram
        trainer.append(pieces.count, as: 4)
        trainer.append(pieces.contains { $0.kind == .byte } ? 1 : 0, as: 35)
        trainer.append(unknown, as: 40)
        trainer.append(pieces.indices.contains(unknown) ? pieces[unknown].text : [], as: 45)
        model.append(trainer.bytes, as: 2)
        var normalizer = Message()
        normalizer.append(rules, as: 2)
        normalizer.append(addsPrefix ? 1 : 0, as: 3)
        normalizer.append(removesSpaces ? 1 : 0, as: 4)
        normalizer.append(1, as: 5)  // escape_whitespaces
        model.append(normalizer.bytes, as: 3)
        return model.bytes
    }
}

/// A serialized protocol buffer message.
private struct Message {
    private(set) var bytes: [UInt8] = []

    mutating func append(_ value: Int, as field: Int) {
        varint(field << 3)
        varint(value)
    }

    mutating func append(_ value: Float, as field: Int) {
        varint(field << 3 | 5)
        withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += $0 }
    }

    mutating func append(_ value: [UInt8], as field: Int) {
        varint(field << 3 | 2)
        varint(value.count)
        bytes += value
    }

    private mutating func varint(_ value: Int) {
        var rest = UInt(bitPattern: value)
        while rest >= 0x80 {
            bytes.append(UInt8(rest & 0x7F) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}
