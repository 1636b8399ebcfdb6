/// Puts progress into the log file every few seconds, where it is not written as lines anyway.
struct ProgressRecord {
    private static let interval = Duration.seconds(5)
    private var last: ContinuousClock.Instant?

    /// Records a line if one is due.
    mutating func add(_ text: @autoclosure () -> String) {
        let now = ContinuousClock.now
        guard Terminal.standardError.logPath != nil, last.map({ now - $0 >= Self.interval }) ?? true
        else { return }
        last = now
        Terminal.standardError.record(text())
    }
}
