/// Splits a text at the marks in it: of those that begin first the longest, as the Hugging Face
/// tokenizers library does.
struct MarkSplitter: Sendable {
    /// A part of a text.
    enum Part: Equatable {
        case mark(Int32)
        case text(Range<Int>)
    }

    private struct Mark: Sendable {
        let text: [UInt8]
        let id: Int32
        let token: AddedToken
    }

    /// The marks by their first byte, the longest first.
    private let marks: [UInt8: [Mark]]

    /// Whether there are no marks.
    var isEmpty: Bool { marks.isEmpty }

    /// - Parameter texts: What is matched of each token, by its id.
    init(_ tokens: [Int32: AddedToken], matching texts: (AddedToken) -> [UInt8]) {
        let all = tokens.map { Mark(text: texts($0.value), id: $0.key, token: $0.value) }
        marks = Dictionary(grouping: all.filter { !$0.text.isEmpty }) { $0.text[0] }.mapValues {
            $0.sorted { ($0.text.count, $1.id) > ($1.text.count, $0.id) }
        }
    }

    /// The parts of UTF-8 bytes, in order.
    func parts(of bytes: ArraySlice<UInt8>) -> [Part] {
        guard !isEmpty else { return bytes.isEmpty ? [] : [.text(bytes.indices)] }
        var parts: [Part] = []
        var (done, index) = (bytes.startIndex, bytes.startIndex)
        while index < bytes.endIndex {
            guard
                let mark = marks[bytes[index]]?.first(where: {
                    bytes[index...].starts(with: $0.text)
                })
            else {
                index += 1
                continue
            }
            var (start, end) = (index, index + mark.text.count)
            index = end
            let (before, after) = (bytes[bytes.startIndex..<start], bytes[end...])
            if mark.token.isSingleWord,
                Self.last(before).map(Self.isWord) ?? false
                    || Self.first(after).map(Self.isWord) ?? false
            {
                continue
            }
            if mark.token.stripsLeft {
                while start > done, let scalar = Self.last(bytes[done..<start]),
                    Self.isSpace(scalar)
                { start -= UTF8.width(scalar) }
            }
            if mark.token.stripsRight {
                while let scalar = Self.first(bytes[end...]), Self.isSpace(scalar) {
                    end += UTF8.width(scalar)
                }
            }
            if done < start { parts.append(.text(done..<start)) }
            parts.append(.mark(mark.id))
            done = end
            index = max(index, end)
        }
        return done < bytes.endIndex ? parts + [.text(done..<bytes.endIndex)] : parts
    }

    private static func first(_ bytes: ArraySlice<UInt8>) -> Unicode.Scalar? {
        String(decoding: bytes.prefix(4), as: UTF8.self).unicodeScalars.first
    }

    private static func last(_ bytes: ArraySlice<UInt8>) -> Unicode.Scalar? {
        String(decoding: bytes.suffix(4), as: UTF8.self).unicodeScalars.last
    }

    private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.isWhitespace
    }

    /// Whether a regular expression's `\w` matches (Unicode technical standard 18, annex C).
    private static func isWord(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation:
            true
        default: scalar.properties.isAlphabetic || scalar.properties.isJoinControl
        }
    }
}
