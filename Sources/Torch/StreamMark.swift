import CTorch
public import SwanSystem

/// A place in what a device has been asked to do; other streams can wait for it.
///
/// A GPU works on several streams side by side; each thread asks on its own. On the CPU, which does
/// all at once, nothing has to be waited for.
public final class StreamMark: @unchecked Sendable {
    private let raw: ct_mark

    /// Marks what the calling thread has asked of `device` so far.
    public init(_ device: Device) throws(SwanError) {
        var error = ct_error()
        guard let raw = ct_stream_mark(device.type, device.index, &error) else {
            throw SwanError(taking: &error)
        }
        self.raw = raw
    }

    deinit { ct_mark_release(raw) }

    /// What the calling thread asks from now on is done after what was marked.
    public func wait() throws(SwanError) {
        var error = ct_error()
        guard ct_stream_wait(raw, &error) else { throw SwanError(taking: &error) }
    }
}

extension Device {
    /// What `body` asks of this device goes to a second stream, which is the same at every call.
    ///
    /// One stream, since memory that was used on one is used again on that one only.
    public func onSideStream<R>(
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
