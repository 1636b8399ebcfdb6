/// Which micro-batch of a run: the gradients of a step are the mean over its micro-batches.
package struct BatchPlace: Sendable, Equatable {
    /// The step, counted from 0.
    package let step: Int
    /// The place within the step, and how many there are.
    package let part, parts: Int

    /// The only micro-batch of a step.
    package init(step: Int) { self.init(step: step, part: 0, of: 1) }

    /// Micro-batch `part` of a step.
    package init(step: Int, part: Int, of parts: Int) {
        self.step = step
        self.part = part
        self.parts = parts
    }

    /// Micro-batch `number` of a whole run.
    package init(number: Int, parts: Int) {
        self.init(step: number / parts, part: number % parts, of: parts)
    }

    /// Counts all micro-batches of a run: what random numbers are drawn by.
    package var number: Int { step * parts + part }

    /// The same place in the step before.
    package var before: BatchPlace { BatchPlace(step: step - 1, part: part, of: parts) }
}
