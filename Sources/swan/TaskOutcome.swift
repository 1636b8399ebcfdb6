import Dispatch
import Synchronization

/// Blocks until a task has ended; returns its value or throws its error.
func waiting<Value: Sendable>(for task: Task<Value, any Error>) throws -> Value {
    let done = DispatchSemaphore(value: 0)
    let result = Mutex<Result<Value, any Error>?>(nil)
    Task {
        let outcome = await task.result
        result.withLock { $0 = outcome }
        done.signal()
    }
    done.wait()
    guard let outcome = result.withLock({ $0 }) else { throw CancellationError() }
    return try outcome.get()
}
