import Foundation

/// The calls of a group, and the bytes that this rank sent, by kind.
package final class Traffic: @unchecked Sendable {
    /// The kinds of operation.
    package enum Kind: String, Sendable, CaseIterable, Encodable {
        case broadcast, reduce, gather, exchange, send, barrier
    }

    /// The calls of one kind and their bytes.
    package struct Count: Sendable, Equatable, Encodable {
        /// The number of calls.
        package var calls = 0
        /// The bytes that this rank sent.
        package var bytes = 0
    }

    private let lock = NSLock()
    private var counts: [Kind: Count] = [:]

    func count(_ kind: Kind, _ bytes: Int) {
        lock.withLock {
            counts[kind, default: Count()].calls += 1
            counts[kind, default: Count()].bytes += bytes
        }
    }

    /// The count of one kind.
    package subscript(kind: Kind) -> Count { lock.withLock { counts[kind] ?? Count() } }

    /// Starts again from zero.
    package func reset() { lock.withLock { counts = [:] } }
}
