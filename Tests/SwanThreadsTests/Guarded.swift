import Foundation

/// A value protected by a lock that ThreadSanitizer recognizes, unlike Swift's `Mutex`.
final class Guarded<Value>: @unchecked Sendable {
    private let lock = NSLock()
    // Accessed only while `lock` is held.
    private var value: Value

    init(_ value: Value) { self.value = value }

    func withLock<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
        try lock.withLock { try body(&value) }
    }
}
