import CTorch
public import SwanSystem

/// Runs `body` without keeping anything for gradients: in the backward pass it runs again.
///
/// Training Deep Nets with Sublinear Memory Cost, https://arxiv.org/abs/1604.06174: trades time for
/// memory. Between the two runs, only what `body` captures and returns stays in memory. The second
/// run must call the same operators on the same numbers, so it must not draw random numbers, and it
/// may be on another thread. Its error is thrown by `gradients(of:for:)`.
///
/// Regions can be nested. If nothing is recorded, `body` simply runs once.
public func recomputed<Result>(
    _ body: @escaping @Sendable () throws(SwanError) -> Result
) throws(SwanError) -> Result {
    let context = Body { () throws(SwanError) in _ = try body() }
    var error = ct_error()
    let region = ct_region_enter(
        { context in
            guard let context else { return nil }
            do throws(SwanError) {
                try Unmanaged<Body>.fromOpaque(context).takeUnretainedValue().run()
                return nil
            } catch {
                return Unmanaged.passRetained(BodyError(error)).toOpaque()
            }
        },
        { object in
            if let object { Unmanaged<AnyObject>.fromOpaque(object).release() }
        },
        Unmanaged.passRetained(context).toOpaque(),
        &error
    )
    guard let region else { throw SwanError(taking: &error) }
    defer { ct_region_leave(region) }
    return try body()
}

/// The function to run again, as held by the engine.
private final class Body: Sendable {
    let run: @Sendable () throws(SwanError) -> Void

    init(_ run: @escaping @Sendable () throws(SwanError) -> Void) { self.run = run }
}

/// The error of a second run, passed through the engine.
final class BodyError: Sendable {
    private let error: SwanError

    init(_ error: SwanError) { self.error = error }

    /// Takes back the error that the engine has carried.
    static func taken(from raw: UnsafeMutableRawPointer?) -> SwanError {
        guard let raw else {
            return SwanError(.invalidArgument, "recomputing for gradients failed")
        }
        return Unmanaged<BodyError>.fromOpaque(raw).takeRetainedValue().error
    }
}
