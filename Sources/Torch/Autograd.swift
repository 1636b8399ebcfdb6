import CTorch
public import SwanSystem

extension Tensor {
    /// Whether operations on this tensor are recorded for gradients.
    public var requiresGrad: Bool { ct_tensor_requires_grad(handle.raw) }

    /// Sets whether gradients are computed for this tensor.
    public func setRequiresGrad(_ value: Bool = true) throws(SwanError) {
        var error = ct_error()
        guard ct_tensor_set_requires_grad(handle.raw, value, &error) else {
            throw SwanError(taking: &error)
        }
    }

    /// The same elements without the recorded history.
    public func detached() throws(SwanError) -> Tensor {
        var error = ct_error()
        guard let raw = ct_tensor_detach(handle.raw, &error) else {
            throw SwanError(taking: &error)
        }
        return Tensor(owning: raw)
    }
}

/// Returns the gradient of the one-element tensor `output` for each of `inputs`; nil for one that
/// it does not depend on.
public func gradients(of output: Tensor, for inputs: [Tensor]) throws(SwanError) -> [Tensor?] {
    var error = ct_error()
    let handles: [ct_tensor?] = inputs.map(\.handle.raw)
    var found = [ct_tensor?](repeating: nil, count: inputs.count)
    guard ct_gradients(output.handle.raw, handles, Int32(inputs.count), &found, &error) else {
        throw SwanError(taking: &error)
    }
    return found.map { $0.map(Tensor.init(owning:)) }
}

/// Runs `body` in the engine's inference mode: nothing is recorded, and views have no version
/// counters.
///
/// It applies to the calling thread, so `body` must not suspend.
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
