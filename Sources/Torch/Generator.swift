import CTorch
public import SwanSystem

/// A seeded source of random numbers on one device.
///
/// The same seed gives the same numbers on the same kind of machine; on the CPU they equal those of
/// PyTorch's `torch.Generator` with that seed. A generator serves one task at a time.
public final class Generator: @unchecked Sendable {
    let raw: ct_generator

    /// A generator on `device`, started from `seed`.
    public init(seed: UInt64, device: Device = .cpu) throws(SwanError) {
        var error = ct_error()
        guard let raw = ct_generator_create(device.type, device.index, seed, &error) else {
            throw SwanError(taking: &error)
        }
        self.raw = raw
    }

    deinit { ct_generator_release(raw) }

    /// The whole state as bytes; what is drawn after `restore` with it repeats.
    public func state() throws(SwanError) -> Tensor {
        var error = ct_error()
        guard let state = ct_generator_state(raw, &error) else { throw SwanError(taking: &error) }
        return Tensor(owning: state)
    }

    /// Goes back to a state that `state()` gave.
    public func restore(_ state: Tensor) throws(SwanError) {
        var error = ct_error()
        guard ct_generator_set_state(raw, state.handle.raw, &error) else {
            throw SwanError(taking: &error)
        }
    }
}
