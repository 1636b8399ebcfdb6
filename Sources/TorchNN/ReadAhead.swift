import Foundation
import SwanSystem
import Torch

/// Computes values one at a time on another thread, on a device's side stream, while the caller
/// continues.
final class ReadAhead<Value: Sendable>: Sendable {
    typealias Make = @Sendable () throws(SwanError) -> Value

    private struct State {
        var request: Make?
        var result: Result<(Value, StreamMark), SwanError>?
        /// Whether a value was started but not taken.
        var isPending = false
        var isOver = false
    }

    private let device: Device
    private let changed = NSCondition()
    /// Guarded by `changed`.
    nonisolated(unsafe) private var state = State()

    /// Starts the thread, which ends after `stop`; throws if the system cannot create one.
    init(_ device: Device) throws(SwanError) {
        self.device = device
        try startThread("swan.layers") { [self] in serve() }
    }

    /// Starts computing a value; take it before starting the next.
    func start(_ make: @escaping Make) {
        changed.withLock {
            state.request = make
            state.isPending = true
            changed.broadcast()
        }
    }

    /// Waits for the value; work that the caller submits to the device afterwards runs after it.
    func take() throws(SwanError) -> Value {
        let result = changed.withLock { () -> Result<(Value, StreamMark), SwanError>? in
            while state.isPending, state.result == nil { changed.wait() }
            defer { (state.result, state.isPending) = (nil, false) }
            return state.result
        }
        guard let result else {
            throw SwanError(.invalidArgument, "a layer is taken that was not requested")
        }
        let (value, mark) = try result.get()
        try mark.wait()
        return value
    }

    /// Ends the thread; a value that was not taken is dropped.
    func stop() {
        changed.withLock {
            state.isOver = true
            changed.broadcast()
        }
    }

    private func serve() {
        while let make = next() {
            let result = Result { () throws(SwanError) in
                try inference { () throws(SwanError) in
                    try device.onSideStream { () throws(SwanError) in
                        let value = try make()
                        return (value, try StreamMark(device))
                    }
                }
            }
            changed.withLock {
                state.result = result
                changed.broadcast()
            }
        }
    }

    private func next() -> Make? {
        changed.withLock {
            while state.request == nil, !state.isOver { changed.wait() }
            defer { state.request = nil }
            return state.isOver ? nil : state.request
        }
    }
}
