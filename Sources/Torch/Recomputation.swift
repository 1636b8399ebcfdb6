import CTorch
public import SwanSystem

/// What `body` gives, of which nothing is kept for gradients: when they are taken it runs again.
///
/// Training Deep Nets with Sublinear Memory Cost, https://arxiv.org/abs/1604.06174: memory for time.
/// Between the two runs only what `body` holds and what it returned stays in memory. The second run
/// has to call the same operators with the same numbers, so it may draw none at random, and it may be
/// on another thread. Its error is thrown by `gradients(of:for:)`.
///
/// Regions may lie in one another. Where nothing is recorded, `body` runs once and that is all.
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

/// What is run again, as the engine holds it.
private final class Body: Sendable {
    let run: @Sendable () throws(SwanError) -> Void

    init(_ run: @escaping @Sendable () throws(SwanError) -> Void) { self.run = run }
}

/// The error of a second run on its way through the engine.
final class BodyError: Sendable {
    private let error: SwanError

    init(_ error: SwanError) { self.error = error }

    /// The error that the engine has carried.
    static func taken(from raw: UnsafeMutableRawPointer?) -> SwanError {
        guard let raw else {
            return SwanError(.invalidArgument, "computing anew for gradients failed")
        }
        return Unmanaged<BodyError>.fromOpaque(raw).takeRetainedValue().error
    }
}
