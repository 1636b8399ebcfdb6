import SwanSystem

/// Finds ranks whose counts have not changed for long: stopped processes, and machines that are gone.
///
/// Time is measured in this process's own checks, so that one that was stopped itself, with all the
/// others, does not take them for lost when it goes on.
struct Stillness {
    /// What was last seen of a rank.
    private struct Seen {
        var count = 0
        /// How many checks ago it changed.
        var age = 0
    }

    /// Counts are read in every fourth call only: a reading asks the store once for each rank.
    private static let interval = 4
    private var seen: [Int: Seen]
    private var calls = 0
    private let mostAge: Int

    /// Watches ranks.
    ///
    /// - Parameter mostAge: The checks, of 1.2 seconds each, for which a count may stay as it is.
    init(ranks: [Int], mostAge: Int = 25) {
        seen = Dictionary(uniqueKeysWithValues: ranks.map { ($0, Seen()) })
        self.mostAge = mostAge
    }

    /// Looks at the counts; returns a rank that stands still.
    ///
    /// - Parameter count: The count of a rank; 0 if it has not begun to count.
    mutating func check(
        _ count: (Int) throws(SwanError) -> Int
    ) throws(SwanError) -> Int? {
        calls += 1
        guard calls % Self.interval == 0 else { return nil }
        for rank in seen.keys.sorted() {
            let now = try count(rank)
            let old = seen[rank, default: Seen()]
            let isStill = now > 0 && now == old.count
            seen[rank] = Seen(count: now, age: isStill ? old.age + 1 : 0)
        }
        return seen.filter { $0.value.age >= mostAge }.keys.min()
    }
}
