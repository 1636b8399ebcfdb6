import SwanDistributed
package import SwanSystem

/// What a stage of training has that ranks can share.
package struct StageWork: Sendable {
    let stage: String
    let microBatches: Int
    let dividesTokens: Bool
    let sharesWeights: Bool

    /// Describes a stage.
    ///
    /// - Parameters:
    ///   - microBatches: The number of micro-batches in a step.
    ///   - dividesTokens: Whether the ranks of a sequence share a micro-batch.
    ///   - sharesWeights: Whether the method can keep a part of the weights on each rank.
    package init(
        stage: String,
        microBatches: Int,
        dividesTokens: Bool = false,
        sharesWeights: Bool = false
    ) {
        self.stage = stage
        self.microBatches = microBatches
        self.dividesTokens = dividesTokens
        self.sharesWeights = sharesWeights
    }
}

extension TrainingRanks {
    /// Throws `invalidRequest` if the ranks cannot share the micro-batches of a stage.
    package func check(_ work: StageWork) throws(SwanError) {
        let (parts, count) = (work.microBatches, data.count)
        let isSharded = shares(work)
        guard isSharded ? !parts.isMultiple(of: count) : parts < count else { return }
        throw SwanError(
            .invalidRequest,
            "the stage '\(work.stage)' has \(parts) micro-batch\(parts == 1 ? "" : "es") a step, "
                + "which \(count) ranks cannot share: set micro_batches of its optimizer to "
                + (isSharded ? "a multiple of \(count)" : "at least \(count)")
                + ", or parallel.data to less (parallel.sequence shares a micro-batch)"
        )
    }

    /// Whether ranks compute different things: those of a sequence that does not divide tokens
    /// compute the same.
    func divides(_ work: StageWork) -> Bool { work.dividesTokens || sequence.count == 1 }

    /// Whether ranks keep parts of the weights.
    func shares(_ work: StageWork) -> Bool {
        shards != nil && work.sharesWeights && divides(work)
    }
}
