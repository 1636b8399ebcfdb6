import HTTPTypes
import SwanHTTP
import Synchronization

/// The bodies of new jobs that are arriving. A client may take its time with one, so they have limits of their own, and
/// no place in the queue.
final class ArrivingBodies: Sendable {
    /// Where a body is kept.
    enum Storage { case disk, memory }

    private struct State {
        var count = 0
        var bytes: [Storage: Int] = [:]
    }

    private let limits: JobLimits
    private let state = Mutex(State())

    init(_ limits: JobLimits) { self.limits = limits }

    /// A body that is arriving, or has arrived and belongs to no job yet.
    final class Body: Sendable {
        private let owner: ArrivingBodies
        private let storage: Storage
        private let bytes = Mutex(0)

        fileprivate init(_ owner: ArrivingBodies, _ storage: Storage) {
            (self.owner, self.storage) = (owner, storage)
        }

        /// Counts bytes that have come.
        func add(_ count: Int) throws(APIError) {
            bytes.withLock { $0 += count }
            try owner.add(count, storage)
        }

        deinit {
            let count = bytes.withLock { $0 }
            owner.state.withLock { state in
                state.count -= 1
                state.bytes[storage, default: 0] -= count
            }
        }
    }

    /// Admits one more body.
    func begin(_ storage: Storage) throws(APIError) -> Body {
        let isAdmitted = state.withLock { state in
            guard state.count < limits.arriving else { return false }
            state.count += 1
            return true
        }
        guard isAdmitted else { throw .tooManyUploads }
        return Body(self, storage)
    }

    private func add(_ count: Int, _ storage: Storage) throws(APIError) {
        let most =
            switch storage {
            case .disk: limits.arrivingFileBytes
            case .memory: limits.arrivingJSONBytes
            }
        let total = state.withLock { state in
            state.bytes[storage, default: 0] += count
            return state.bytes[storage, default: 0]
        }
        guard total <= most else { throw .tooManyUploads }
    }
}

extension APIError {
    /// Others are uploading.
    fileprivate static let tooManyUploads = APIError(
        .tooManyRequests,
        "too_many_uploads",
        "Too many uploads are arriving; try again later.",
        headers: [.retryAfter: "10"]
    )
}
