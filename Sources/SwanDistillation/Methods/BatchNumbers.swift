import SwanTraining

/// Which batches of the data the networks of a step learn from.
///
/// CausVid's share one. Self-Forcing's take the next ones in turn, the generator before the critic.
struct BatchNumbers: Sendable, Equatable {
    /// The steps from one update of the generator to the next.
    let ratio: Int
    /// Whether the generator and the critic have batches of their own.
    let areSeparate: Bool

    /// The place of the generator's micro-batch among the data's; nil if it shares the critic's, or
    /// if it is not updated.
    func generator(_ place: BatchPlace) -> BatchPlace? {
        guard areSeparate, place.step.isMultiple(of: ratio) else { return nil }
        return BatchPlace(
            step: place.step + place.step / ratio,
            part: place.part,
            of: place.parts
        )
    }

    /// The place of the critic's micro-batch among the data's.
    func critic(_ place: BatchPlace) -> BatchPlace {
        guard areSeparate else { return place }
        // One for each step before, and one for each update of the generator up to this step.
        return BatchPlace(
            step: place.step + place.step / ratio + 1,
            part: place.part,
            of: place.parts
        )
    }
}
