import CTorch

/// A place in what a device has been asked to do; other streams can wait for it.
///
/// A GPU works on several streams side by side; each thread asks on its own. On the CPU, which does
/// all at once, nothing has to be waited for.
public final class StreamMark: @unchecked Sendable {
    private let raw: ct_mark

    /// Marks what the calling thread has asked of `device` so far.
    public init(_ device: Device) throws(TorchError) {
        var error = ct_error()
        guard let raw = ct_stream_mark(device.type, device.index, &error) else {
            throw TorchError(taking: &error)
        }
        self.raw = raw
    }

    deinit { ct_mark_release(raw) }

    /// What the calling thread asks from now on is done after what was marked.
    public func wait() throws(TorchError) {
        var error = ct_error()
        guard ct_stream_wait(raw, &error) else { throw TorchError(taking: &error) }
    }
}

extension Device {
    /// The calling thread's work on this device goes to a stream of its own from now on.
    public func useOwnStream() throws(TorchError) {
        var error = ct_error()
        guard ct_stream_use_own(type, index, &error) else { throw TorchError(taking: &error) }
    }
}
