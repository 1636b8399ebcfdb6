import Torch
import SwanSystem

/// The keys and values of a text in every block of a transformer, computed once for a prompt.
///
/// The reference pads a text with zeros to `textLen` tokens, and attention sees the padding. All
/// padding tokens have the same embedding, hence the same key and value, so one is kept, with the
/// logarithm of their count added to its score: the same softmax over far fewer keys.
public struct TextConditioning: Sendable {
    let blocks: Keys
    /// The keys for the blocks of a control branch.
    let control: Keys

    /// The keys and values of a range of blocks.
    struct Keys: Sendable {
        private let first: Int
        private var keys: [TextKeys]

        /// Creates keys for consecutive blocks starting at `first`.
        init(first: Int, _ keys: [TextKeys] = []) {
            self.first = first
            self.keys = keys
        }

        /// Joins the keys of different texts, each for a number of rows, in the blocks that all of
        /// them cover.
        init(joining parts: [(keys: Keys, rows: Int)]) {
            let ranges = parts.map(\.keys.range)
            let all = ranges.dropFirst().reduce(ranges.first ?? 0..<0) { $0.clamped(to: $1) }
            self.init(
                first: all.lowerBound,
                all.map { block in
                    TextKeys(
                        joining: parts.map { ($0.keys.keys[block - $0.keys.first], $0.rows) }
                    )
                }
            )
        }

        /// The blocks with keys.
        var range: Range<Int> { first..<first + keys.count }

        mutating func append(_ next: TextKeys) { keys.append(next) }

        func keys(of block: Int) throws(SwanError) -> TextKeys {
            guard range.contains(block) else {
                throw SwanError(
                    .invalidArgument,
                    "the text was prepared for blocks \(range), not for block \(block)"
                )
            }
            return keys[block - first]
        }
    }
}

extension TextConditioning {
    /// Joins the texts of a batch, each for a number of adjacent rows.
    ///
    /// Every row attends only to its own text, whatever the lengths of the others.
    public init(joining texts: [(text: TextConditioning, rows: Int)]) {
        self.init(
            blocks: Keys(joining: texts.map { ($0.text.blocks, $0.rows) }),
            control: Keys(joining: texts.map { ($0.text.control, $0.rows) })
        )
    }
}
