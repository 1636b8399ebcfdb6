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

/// The same, with `arrived` called with the index and the gradient of each input that the output
/// depends on as soon as the gradient is complete, while others are still computed.
///
/// It may be called on another thread. The inputs are leaves, used by no other backward pass at the
/// same time.
package func gradients(
    of output: Tensor,
    for inputs: [Tensor],
    arrived: @escaping @Sendable (Int, Tensor) throws(SwanError) -> Void
) throws(SwanError) -> [Tensor?] {
    let receiver = GradientReceiver(arrived)
    defer { withExtendedLifetime(receiver) {} }
    var error = ct_error()
    let handles: [ct_tensor?] = inputs.map(\.handle.raw)
    var found = [ct_tensor?](repeating: nil, count: inputs.count)
    let isDone = ct_gradients_arriving(
        output.handle.raw,
        handles,
        Int32(inputs.count),
        { context, index, gradient in
            guard let context, let gradient else { return nil }
            let receiver = Unmanaged<GradientReceiver>.fromOpaque(context).takeUnretainedValue()
            do throws(SwanError) {
                try receiver.arrived(Int(index), Tensor(owning: gradient))
                return nil
            } catch {
                return Unmanaged.passRetained(BodyError(error)).toOpaque()
            }
        },
        { object in
            if let object { Unmanaged<AnyObject>.fromOpaque(object).release() }
        },
        Unmanaged.passUnretained(receiver).toOpaque(),
        &found,
        &error
    )
    guard isDone else { throw SwanError(taking: &error) }
    return found.map { $0.map(Tensor.init(owning:)) }
}

/// The function that gets gradients as they arrive, as held by the engine.
private final class GradientReceiver: Sendable {
    let arrived: @Sendable (Int, Tensor) throws(SwanError) -> Void

    init(_ arrived: @escaping @Sendable (Int, Tensor) throws(SwanError) -> Void) {
        self.arrived = arrived
    }
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
