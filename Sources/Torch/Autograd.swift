import CTorch
public import SwanSystem

extension Tensor {
    /// Whether operators record how this tensor was made, for gradients.
    public var requiresGrad: Bool { ct_tensor_requires_grad(handle.raw) }

    /// Makes the tensor one that gradients are taken for (or stops that).
    public func setRequiresGrad(_ value: Bool = true) throws(SwanError) {
        var error = ct_error()
        guard ct_tensor_set_requires_grad(handle.raw, value, &error) else {
            throw SwanError(taking: &error)
        }
    }

    /// The same elements without their history.
    public func detached() throws(SwanError) -> Tensor {
        var error = ct_error()
        guard let raw = ct_tensor_detach(handle.raw, &error) else {
            throw SwanError(taking: &error)
        }
        return Tensor(owning: raw)
    }
}

/// The gradient of the one-element tensor `output` for each of `inputs`; nil where it does not depend on one.
public func gradients(of output: Tensor, for inputs: [Tensor]) throws(SwanError) -> [Tensor?] {
    var error = ct_error()
    let handles: [ct_tensor?] = inputs.map(\.handle.raw)
    var found = [ct_tensor?](repeating: nil, count: inputs.count)
    guard ct_gradients(output.handle.raw, handles, Int32(inputs.count), &found, &error) else {
        throw SwanError(taking: &error)
    }
    return found.map { $0.map(Tensor.init(owning:)) }
}

/// Runs `body` with the engine's inference mode on: nothing is recorded, views carry no versions.
///
/// It holds for the calling thread, so `body` may not suspend.
public func inference<R, E: Error>(_ body: () throws(E) -> R) throws(E) -> R {
    try guarded(CT_GUARD_INFERENCE, body)
}

/// Runs `body` without recording for gradients.
public func withoutGradients<R, E: Error>(_ body: () throws(E) -> R) throws(E) -> R {
    try guarded(CT_GUARD_NO_GRAD, body)
}

private func guarded<R, E: Error>(
    _ kind: ct_guard_kind,
    _ body: () throws(E) -> R
) throws(E) -> R {
    let guardHandle = ct_guard_enter(kind)
    defer { ct_guard_leave(guardHandle) }
    return try body()
}
