import CMedia
public import SwanSystem

/// Cancels live readers and writers that wait for a device or the network.
public final class MediaCancellation: Sendable {
    /// Thread-safe by itself.
    nonisolated(unsafe) let flag: OpaquePointer

    /// Creates a cancellation that has not happened.
    public init() throws(SwanError) {
        guard let flag = cm_flag_make() else { throw SwanError(.outOfMemory, "out of memory") }
        self.flag = flag
    }

    deinit { cm_flag_free(flag) }

    /// Makes waiting calls, and all later ones, return. Can be called from any thread.
    public func cancel() { cm_flag_raise(flag) }
}
