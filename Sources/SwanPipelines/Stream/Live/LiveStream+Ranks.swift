import SwanDistributed
import SwanCheckpoints
import Torch

/// Live streams over several ranks.
extension LiveStream {
    /// A rank's part of the model, loaded before the source is opened: a sender that connects earlier
    /// would lose what it sends.
    struct RankPart {
        private let ranks: StagedRanks
        private let patient: ProcessGroup
        let parts: StagedParts

        /// All ranks call this together, and then `join`.
        init(_ ranks: StagedRanks, _ draft: StreamDraft) throws {
            self.ranks = ranks
            patient = try StagedGroups.makePatient(ranks.world)
            parts = try ranks.load(draft.checkpoint, draft.dtype, draft.device)
        }

        /// Joins the stream. Few chunks wait, since each makes all later ones late.
        func join(_ plan: StreamPlan) throws -> StagedStream {
            try ranks.join(plan, patient, waiting: 2)
        }
    }

    /// Runs the part of a live stream that a rank other than 0 has.
    package static func serve(_ request: LiveStreamRequest, _ ranks: StagedRanks) throws {
        var own = request.stream
        own.device = try ranks.device(named: own.device)
        let draft = try own.draft()
        let part = try RankPart(ranks, draft)
        try part.join(draft.planOfRank).serve(part.parts)
    }

    /// The request, resolved for this rank's device.
    func draft() throws -> StreamDraft {
        var own = request.stream
        if let ranks { own.device = try ranks.device(named: own.device) }
        return try own.draft()
    }

    /// The stream on this process alone, or with the other ranks.
    func stream(
        _ model: StreamModel,
        _ part: RankPart?,
        _ plan: StreamPlan
    ) throws -> any FileStreaming {
        let prompt = request.stream.prompt
        if let part {
            return try StagedVideoStream(part.join(plan), part.parts, prompt: prompt, log: log)
        }
        return try VideoStream(model, prompt: prompt, options: plan.options, log: log)
    }
}
