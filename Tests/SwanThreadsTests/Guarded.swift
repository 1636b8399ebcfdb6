import Foundation

/// A value behind a lock that ThreadSanitizer sees, as it does not see Swift's `Mutex`.
final class Guarded<Value>: @unchecked Sendable {
    private let lock = NSLock()
    // Touched while `lock` is held.
    private var value: Value

    init(_ value: Value) { self.value = value }

    func withLock<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
        try lock.withLock { try body(&value) }
    }
}
