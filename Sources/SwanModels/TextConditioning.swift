import Torch

/// The keys and values of a text in every block of a transformer, computed once for a prompt.
///
/// The reference pads a text with zeros to `textLen` tokens, and attention sees the padding. All
/// padding has one embedding, hence one key and one value, so it is kept once with the logarithm of
/// its count added to its score: the same softmax over far fewer keys.
public struct TextConditioning: Sendable {
    let blocks: Keys
    /// Those of a control branch's blocks.
    let control: Keys

    /// The keys and values of a range of blocks.
    struct Keys: Sendable {
        fileprivate let first: Int
        fileprivate var keys: [TextKeys]

        /// The keys of blocks from the first one on.
        init(first: Int, _ keys: [TextKeys] = []) {
            self.first = first
            self.keys = keys
        }

        /// The blocks that there are keys for.
        var range: Range<Int> { first..<first + keys.count }

        mutating func append(_ next: TextKeys) { keys.append(next) }

        func keys(of block: Int) throws(TorchError) -> TextKeys {
            guard range.contains(block) else {
                throw TorchError(
                    .invalidArgument,
                    "the text is conditioned for blocks \(range), not for block \(block)"
                )
            }
            return keys[block - first]
        }
    }
}

extension TextConditioning {
    /// The texts of a batch in which neighbouring rows have the same: each for a number of rows.
    ///
    /// Every row attends to its own text alone, whatever the lengths of the others.
    public init(joining texts: [(text: TextConditioning, rows: Int)]) {
        blocks = Keys(joining: texts.map { ($0.text.blocks, $0.rows) })
        control = Keys(joining: texts.map { ($0.text.control, $0.rows) })
    }
}

extension TextConditioning.Keys {
    /// The keys of texts that are conditioned for the same blocks, each for a number of rows.
    fileprivate init(joining texts: [(keys: Self, rows: Int)]) {
        first = texts.first?.keys.first ?? 0
        keys = (texts.first?.keys.keys ?? []).indices.map { index in
            TextKeys(joining: texts.map { ($0.keys.keys[index], $0.rows) })
        }
    }
}
