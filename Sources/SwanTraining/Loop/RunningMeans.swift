/// Named means of the values added since they were last taken.
struct RunningMeans {
    private var sums: [String: (sum: Double, count: Int)] = [:]

    /// Adds a value to each of the named means.
    mutating func add(_ values: [String: Double]) {
        for (name, value) in values {
            let old = sums[name] ?? (0, 0)
            sums[name] = (old.sum + value, old.count + 1)
        }
    }

    /// Returns the means and resets them.
    mutating func take() -> [String: Double] {
        defer { sums = [:] }
        return sums.mapValues { $0.sum / Double($0.count) }
    }
}
