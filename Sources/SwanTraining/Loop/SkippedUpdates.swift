/// The updates of a network that were skipped because their gradients were not finite.
struct SkippedUpdates: Equatable {
    /// The number of skipped updates in a row that ends a run.
    static let limit = 10

    /// All skipped updates of the run, and those since the last one that was not skipped.
    private(set) var total = 0
    private(set) var inARow = 0

    /// No updates.
    init() {}

    /// Reads what `text` wrote into a checkpoint; nil if it is something else.
    init?(_ text: String) {
        let numbers = text.split(separator: " ").compactMap { Int($0) }
        guard numbers.count == 2, numbers[1] >= 0, numbers[0] >= numbers[1] else { return nil }
        (total, inARow) = (numbers[0], numbers[1])
    }

    /// Both numbers; nil if no update was skipped.
    var text: String? { total > 0 ? "\(total) \(inARow)" : nil }

    /// Counts an update.
    mutating func add(isSkipped: Bool) {
        total += isSkipped ? 1 : 0
        inARow = isSkipped ? inARow + 1 : 0
    }
}
