import SwanSystem

/// How the ranks of a job divide one stream.
public struct StagedOptions: Sendable, Equatable {
    /// What each rank of the pipeline holds.
    public enum Layout: String, Sendable, CaseIterable {
        /// Some blocks, for all denoising steps.
        case blocks
        /// Some denoising steps, with all blocks.
        case steps
    }

    /// What each rank of the pipeline holds.
    public var layout = Layout.blocks
    /// Whether blocks move between ranks until all take about the same time.
    public var schedulesBlocks = false
    /// Whether the autoencoder's encoder and the text encoder have a rank of their own, the first.
    public var hasEncodeRank = false
    /// Whether the autoencoder's decoder has a rank of its own, the last.
    public var hasDecodeRank = false

    /// The blocks divided evenly, with the encoder on the first rank and the decoder on the last.
    public init() {}
}

/// What each rank of a staged stream does. Rank 0 encodes, reads and writes; the last decodes.
struct StagedRoles: Sendable, Equatable {
    /// The ranks that run the transformer, in order.
    let stages: Range<Int>
    /// The number of ranks.
    let size: Int

    /// - Throws: `invalidRequest` if there are too few ranks.
    init(_ options: StagedOptions, size: Int) throws(SwanError) {
        let first = options.hasEncodeRank ? 1 : 0
        let end = size - (options.hasDecodeRank ? 1 : 0)
        guard first < end else {
            throw SwanError(
                .invalidRequest,
                "\(size) ranks leave none for the transformer; start more ranks, or give the encoder "
                    + "and the decoder no ranks of their own"
            )
        }
        guard !options.schedulesBlocks || options.layout == .blocks else {
            throw SwanError(
                .invalidRequest,
                "only the layout 'blocks' can move blocks between ranks; leave out --schedule-blocks "
                    + "or use --layout blocks"
            )
        }
        stages = first..<end
        self.size = size
    }

    /// The rank that decodes.
    var decoder: Int { size - 1 }
    /// The first and the last rank that run the transformer.
    var head: Int { stages.lowerBound }
    var tail: Int { stages.upperBound - 1 }
}
