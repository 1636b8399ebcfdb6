public import ArgumentParser
public import SwanPipelines

/// How ranks divide a stream; see `swan launch`.
struct StagedStreamOptions: ParsableArguments {
    @Option(
        help: """
            With several ranks: what each holds of the transformer. 'blocks': some blocks, for all \
            denoising steps. 'steps': some denoising steps, with all blocks; less travels.
            """
    )
    var layout: StagedOptions.Layout?

    @Flag(
        help: """
            With several ranks: measure what blocks cost on each, and move them between ranks until \
            all take about the same time.
            """
    )
    var scheduleBlocks = false

    @Flag(help: "With several ranks: use the first for encoding alone.")
    var encodeRank = false

    @Flag(help: "With several ranks: use the last for decoding alone.")
    var decodeRank = false

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "With several ranks: use the last N for decoding alone, each for some rows of the picture.",
            valueName: "n"
        )
    )
    var decodeRanks: Int?

    func validate() throws {
        if let decodeRanks, !(1...1_024).contains(decodeRanks) {
            throw ValidationError("--decode-ranks must be 1 to 1024, not \(decodeRanks)")
        }
    }

    /// The options.
    var staged: StagedOptions {
        var options = StagedOptions()
        options.layout = layout ?? options.layout
        options.schedulesBlocks = scheduleBlocks
        options.hasEncodeRank = encodeRank
        options.decodeRanks = decodeRanks ?? (decodeRank ? 1 : 0)
        return options
    }

    /// Throws if an option is given to a stream of one process.
    func requireNone() throws {
        let given = [
            (layout != nil, "--layout"), (scheduleBlocks, "--schedule-blocks"),
            (encodeRank, "--encode-rank"), (decodeRank, "--decode-rank"),
            (decodeRanks != nil, "--decode-ranks"),
        ].first { $0.0 }
        if let given {
            throw ValidationError(
                "\(given.1) is for several ranks: start with 'swan launch --nproc 2 -- ...'"
            )
        }
    }
}

extension StagedOptions.Layout: ExpressibleByArgument {}
