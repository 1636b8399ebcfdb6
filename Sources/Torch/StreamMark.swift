import CTorch
package import SwanSystem

/// A position in the work submitted to a device, which other streams can wait for.
///
/// A GPU runs several streams concurrently, and each thread submits work to its own. On the CPU,
/// where work is synchronous, there is nothing to wait for.
package final class StreamMark: @unchecked Sendable {
    private let raw: ct_mark

    /// Marks the work that the calling thread has submitted to `device` so far.
    package init(_ device: Device) throws(SwanError) {
        var error = ct_error()
        guard let raw = ct_stream_mark(device.type, device.index, &error) else {
            throw SwanError(taking: &error)
        }
        self.raw = raw
    }

    deinit { ct_mark_release(raw) }

    /// Makes further work from the calling thread run after the marked work.
    package func wait() throws(SwanError) {
        var error = ct_error()
        guard ct_stream_wait(raw, &error) else { throw SwanError(taking: &error) }
    }
}

extension Device {
    /// Runs `body` with its work on this device submitted to a second stream, the same one for
    /// every call.
    ///
    /// There is only one such stream, since memory used on a stream is reused only on that stream.
    package func onSideStream<R>(
        _ body: () throws(SwanError) -> R
    ) throws(SwanError) -> R {
        var error = ct_error()
        guard let visit = ct_side_stream_enter(type, index, &error) else {
            throw SwanError(taking: &error)
        }
        defer { ct_side_stream_leave(visit) }
        return try body()
    }
}
