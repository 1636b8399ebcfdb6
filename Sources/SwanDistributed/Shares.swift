/// A number of things divided among ranks as evenly as possible: the first ranks take one more.
package struct Shares: Sendable, Equatable {
    /// The number for each rank.
    package let counts: [Int]

    /// Divides `count` things among `parts` ranks.
    package init(_ count: Int, among parts: Int) {
        counts = (0..<parts).map { count / parts + ($0 < count % parts ? 1 : 0) }
    }

    /// Gives each rank a number of things.
    init(counts: [Int]) { self.counts = counts }

    /// The things of a rank.
    package subscript(rank: Int) -> Range<Int> {
        let first = counts[..<rank].reduce(0, +)
        return first..<first + counts[rank]
    }
}
