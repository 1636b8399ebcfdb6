import SwanSystem
import SwanThreads

/// What all ranks know after a step.
struct StepAgreement {
    /// The step's numbers, with the losses of all ranks.
    var numbers: StepNumbers
    /// Whether a checkpoint is due.
    var isDue: Bool
    /// Whether the stage ends.
    var isStopped: Bool
}

/// What a rank says after a step.
private struct StepReport: Codable {
    let losses: [Int: [String: Double]]
    let isDue: Bool
    let isStopped: Bool
}

extension TrainingLoop {
    /// Exchanges what ranks know after a step; a single process knows all of it.
    ///
    /// - Parameter isDue: Whether a checkpoint is due by this process's clock. The first rank's
    ///   counts.
    func agreed(_ numbers: StepNumbers, isDue: Bool) throws -> StepAgreement {
        guard let ranks else {
            return StepAgreement(numbers: numbers, isDue: isDue, isStopped: false)
        }
        let reports = try ranks.gathered(
            values: StepReport(
                losses: numbers.parts,
                isDue: isDue,
                isStopped: stop.isCancelled
            )
        )
        var all = numbers
        for report in reports { all.add(report.losses) }
        return StepAgreement(
            numbers: all,
            isDue: reports[0].isDue,
            isStopped: reports.contains { $0.isStopped }
        )
    }
}
