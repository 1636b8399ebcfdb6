import CSwanSystem
import Glibc

/// Starts a thread, or throws if the system cannot create one.
///
/// Foundation's threads and Dispatch's queues do not report this failure, so waiting for a thread
/// that never ran would block forever.
///
/// - Parameters:
///   - name: The name in debuggers, at most 15 bytes.
///   - stackBytes: The stack size; nil for the system's default.
package func startThread(
    _ name: String,
    stackBytes: Int? = nil,
    _ body: @escaping @Sendable () -> Void
) throws(SwanError) {
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    if let stackBytes { pthread_attr_setstacksize(&attributes, stackBytes) }
    let work = Unmanaged.passRetained(Work(name: name, body: body))
    var thread = pthread_t()
    let number = pthread_create(&thread, &attributes, { run($0) }, work.toOpaque())
    guard number != 0 else { return }
    work.release()
    throw SwanError(
        .outOfMemory,
        "cannot start a thread (\(SwanError.reason(number))): the limit on memory or processes is "
            + "too low; free some, raise the limit (ulimit -v, ulimit -u), or set OMP_NUM_THREADS=1"
    )
}

private func run(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let argument else { return nil }
    let work = Unmanaged<Work>.fromOpaque(argument).takeRetainedValue()
    cs_name_thread(work.name)
    work.body()
    return nil
}

private final class Work {
    let name: String
    let body: @Sendable () -> Void

    init(name: String, body: @escaping @Sendable () -> Void) {
        self.name = name
        self.body = body
    }
}
