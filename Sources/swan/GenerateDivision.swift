import ArgumentParser
import SwanDistributed
import SwanPipelines

/// Options for how several ranks divide the work on a video.
struct DivisionOptions: ParsableArguments {
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Of several ranks, let N exchange attention heads; defaults to as many as heads allow.",
            valueName: "n"
        )
    )
    var ulysses: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Of several ranks, pass keys and values around N; defaults to what --ulysses leaves.",
            valueName: "n"
        )
    )
    var ring: Int?

    @Flag(
        name: .customLong("guidance-parallel"),
        help: "Compute the prompt on half of the ranks and the negative prompt on the others."
    )
    var dividesGuidance = false

    @Option(
        help: ArgumentHelp(
            """
            What of the blocks of the transformer and the text encoder each rank keeps: everything (none), a \
            part (full), or a part of its machine's copy (hybrid).
            """,
            valueName: "none|full|hybrid"
        )
    )
    var shard = Sharding.none

    /// Throws if there are options for several ranks, but only this process.
    func requireAlone() throws {
        guard ulysses == nil, ring == nil, !dividesGuidance, shard == .none else {
            throw ValidationError(
                "--ulysses, --ring, --guidance-parallel and --shard are for several ranks; start "
                    + "them with swan launch --nproc N -- generate ..."
            )
        }
    }

    var division: GenerationRanks.Division {
        var division = GenerationRanks.Division()
        (division.ulysses, division.ring) = (ulysses, ring)
        division.dividesGuidance = dividesGuidance
        division.shard = shard
        return division
    }
}

extension Sharding: ExpressibleByArgument {}
