/// The position of a micro-batch in a run. The gradient of a step is the mean over its
/// micro-batches.
package struct BatchPlace: Sendable, Equatable {
    /// The step, counted from 0.
    package let step: Int
    /// The position within the step, and the number of micro-batches in a step.
    package let part, parts: Int

    /// Creates the position of a step's only micro-batch.
    package init(step: Int) { self.init(step: step, part: 0, of: 1) }

    /// Creates the position of micro-batch `part` of a step.
    package init(step: Int, part: Int, of parts: Int) {
        self.step = step
        self.part = part
        self.parts = parts
    }

    /// Creates the position of micro-batch `number` of the whole run.
    package init(number: Int, parts: Int) {
        self.init(step: number / parts, part: number % parts, of: parts)
    }

    /// The index of the micro-batch in the whole run, which seeds its random numbers.
    package var number: Int { step * parts + part }

    /// The same position in the previous step.
    package var before: BatchPlace { BatchPlace(step: step - 1, part: part, of: parts) }
}
