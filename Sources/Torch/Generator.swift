import CTorch
public import SwanSystem

/// A seeded random number generator on one device.
///
/// The same seed produces the same numbers on the same kind of machine; on the CPU they equal those
/// of PyTorch's `torch.Generator` with that seed. Use a generator from one task at a time.
public final class Generator: @unchecked Sendable {
    let raw: ct_generator

    /// Creates a generator on `device` from `seed`.
    public init(seed: UInt64, device: Device = .cpu) throws(SwanError) {
        var error = ct_error()
        guard let raw = ct_generator_create(device.type, device.index, seed, &error) else {
            throw SwanError(taking: &error)
        }
        self.raw = raw
    }

    deinit { ct_generator_release(raw) }

    /// The complete state as bytes; after `restore`, the numbers drawn from here on repeat.
    public func state() throws(SwanError) -> Tensor {
        var error = ct_error()
        guard let state = ct_generator_state(raw, &error) else { throw SwanError(taking: &error) }
        return Tensor(owning: state)
    }

    /// Restores a state returned by `state()`.
    public func restore(_ state: Tensor) throws(SwanError) {
        var error = ct_error()
        guard ct_generator_set_state(raw, state.handle.raw, &error) else {
            throw SwanError(taking: &error)
        }
    }
}
