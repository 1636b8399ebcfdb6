import Foundation
import SwanSystem

/// The result of a conversation with the store; nil if it takes too long, as with a stopped process,
/// which the store's own functions would wait for without end.
///
/// - Parameter isUseless: Whether the result is no longer needed; checked every 0.1 seconds.
func answer<Result: Sendable>(
    within seconds: Double,
    unless isUseless: () -> Bool = { false },
    _ body: @escaping @Sendable () -> Result
) -> Result? {
    let answer = Answer<Result>()
    do throws(SwanError) {
        try startThread("swan.answer") { answer.set(body()) }
    } catch {
        return nil
    }
    let end = Date(timeIntervalSinceNow: seconds)
    while !isUseless() {
        if let result = answer.wait(until: min(end, Date(timeIntervalSinceNow: 0.1))) {
            return result
        }
        if Date() >= end { break }
    }
    return nil
}

/// A value that another thread may deliver.
private final class Answer<Value: Sendable>: @unchecked Sendable {
    private let condition = NSCondition()
    private var value: Value?

    func set(_ value: Value) {
        condition.withLock {
            self.value = value
            condition.broadcast()
        }
    }

    /// Waits for the value; nil if it does not come.
    func wait(until end: Date) -> Value? {
        condition.withLock {
            while value == nil, condition.wait(until: end) {}
            return value
        }
    }
}
