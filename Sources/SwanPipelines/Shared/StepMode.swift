/// How the denoising steps of a stream's chunks run.
package enum StepMode: String, Sendable, Codable, CaseIterable {
    /// As the load demands: one after another while there is time to spare, else as a stream batch.
    case auto
    /// One after another: a chunk is done as soon as possible.
    case steps
    /// As rows of a stream batch: fewer passes, and a chunk more of delay for each further step.
    case batch
}

/// Chooses between steps one after another and a stream batch for a stream in `StepMode.auto`.
///
/// The loads at which it turns to one and back to the other lie apart, and a choice holds for a number of
/// chunks, so that it does not go back and forth.
struct AutomaticSteps: Sendable, Equatable {
    /// The number of chunks for which a choice holds.
    static let patience = 8
    /// The load above which time is short, and the one below which there is time to spare.
    static let (short, spare) = (0.85, 0.6)
    /// The share of the load that a stream batch has to save to be worth its delay.
    static let saving = 0.1

    private(set) var usesBatch = false
    private var chunks = 0

    /// Chooses for the next chunk.
    ///
    /// - Parameter load: The load of the busiest resource with either kind of steps; nil if unknown.
    mutating func next(_ load: (steps: Double, batch: Double)?) -> Bool {
        chunks += 1
        guard let load, chunks > Self.patience else { return usesBatch }
        let saves = load.batch < (1 - Self.saving) * load.steps
        let wantsBatch = saves && load.steps > (usesBatch ? Self.spare : Self.short)
        if wantsBatch != usesBatch { (usesBatch, chunks) = (wantsBatch, 0) }
        return usesBatch
    }
}
