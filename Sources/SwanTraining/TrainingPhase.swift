/// What a run does besides its steps, for those who wait: reading a model, encoding data.
///
/// Whoever starts a run listens; the code of the run says what begins, wherever it is, without a parameter in every
/// function between.
package enum TrainingPhase {
    @TaskLocal private static var listener: (@Sendable (String) -> Void)?

    /// Runs a body; what it begins is reported to `report`, on its thread.
    package static func reporting<Result>(
        to report: @escaping @Sendable (String) -> Void,
        _ body: () throws -> Result
    ) rethrows -> Result {
        try $listener.withValue(report, operation: body)
    }

    /// Says what begins now, such as "encoding the prompts"; it lasts until another phase or a step.
    package static func begin(_ phase: String) { listener?(phase) }
}
