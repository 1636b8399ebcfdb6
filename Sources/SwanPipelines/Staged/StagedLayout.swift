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
    /// The number of ranks, the last ones, that only decode: each some rows of the picture.
    public var decodeRanks = 0
    /// Whether the autoencoder's decoder has a rank of its own, the last.
    public var hasDecodeRank: Bool {
        get { decodeRanks > 0 }
        set { decodeRanks = newValue ? max(1, decodeRanks) : 0 }
    }

    /// The blocks divided evenly, with the encoder on the first rank and the decoder on the last.
    public init() {}
}

/// What each rank of a staged stream does. Rank 0 encodes, reads and writes; the last decodes.
struct StagedRoles: Sendable, Equatable {
    /// The ranks that run the transformer, in order.
    let stages: Range<Int>
    /// The ranks that decode.
    let decoders: Range<Int>
    /// The number of ranks.
    let size: Int

    /// - Throws: `invalidRequest` if there are too few ranks.
    init(_ options: StagedOptions, size: Int) throws(SwanError) {
        let first = options.hasEncodeRank ? 1 : 0
        let end = size - options.decodeRanks
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
        decoders = size - max(1, options.decodeRanks)..<size
        self.size = size
    }

    /// The rank that returns decoded frames.
    var decoder: Int { size - 1 }
    /// The first and the last rank that run the transformer.
    var head: Int { stages.lowerBound }
    var tail: Int { stages.upperBound - 1 }
}
