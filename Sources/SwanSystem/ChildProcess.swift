import CSwanSystem
import Foundation

/// A child process that talks over its standard input and output, and is killed when it is released.
package final class ChildProcess: @unchecked Sendable {
    /// How a process ended.
    package enum End: Sendable, Equatable {
        case exited(Int32)
        case signaled(Int32)
    }

    /// The process number.
    package let number: Int32
    /// The process's standard output.
    package let output: Int32
    // `lock` protects the end; a number without an end belongs to this process.
    private let lock = NSLock()
    private var end: End?

    /// Starts a program.
    ///
    /// - Parameters:
    ///   - environment: All of its variables, as `NAME=value`.
    ///   - input: An open descriptor, which becomes the program's standard input.
    package init(
        _ program: String,
        _ arguments: [String],
        environment: [String],
        input: Int32
    ) throws(SwanError) {
        var (child, pipe) = (Int32(), Int32())
        let started = withCStrings([program] + arguments) { arguments in
            withCStrings(environment) { environment in
                cs_spawn(program, arguments, environment, input, &pipe, &child)
            }
        }
        guard started == 0 else {
            throw SwanError(.outOfMemory, "cannot start a process: \(SwanError.reason(started))")
        }
        number = child
        output = pipe
    }

    deinit {
        kill()
        close(output)
    }

    /// Kills the process, if it still runs, and returns how it ended.
    @discardableResult
    package func kill() -> End {
        lock.withLock {
            if let end { return end }
            Foundation.kill(number, SIGKILL)
            var status: Int32 = 0
            while waitpid(number, &status, 0) < 0, errno == EINTR {}
            let signal = status & 0x7F
            let end = signal == 0 ? End.exited((status >> 8) & 0xFF) : .signaled(signal)
            self.end = end
            return end
        }
    }
}

/// What a child process does to itself before it touches data from outside.
package enum Sandbox {
    /// Limits memory, in addition to what is mapped now, and processor time; then gives up everything except
    /// memory, threads and open descriptors.
    package static func enter(memoryBytes: Int, seconds: Int) throws(SwanError) {
        let limited = cs_limit_child(UInt64(memoryBytes), UInt64(seconds))
        let number = limited == 0 ? cs_enter_sandbox() : limited
        guard number == 0 else {
            throw SwanError(
                .libraryFailed,
                "the system cannot confine a process: \(SwanError.reason(number))"
            )
        }
    }
}

/// Lets the calling thread, and those that it starts later, run only when others leave it time; 19 is the lowest
/// priority.
package func lowerThreadPriority(to nice: Int) throws(SwanError) {
    let number = cs_lower_thread_priority(Int32(nice))
    guard number == 0 else {
        throw SwanError(
            .libraryFailed,
            "the priority of a thread cannot be changed: \(SwanError.reason(number))"
        )
    }
}

/// Calls a function with a null-terminated array of C strings.
func withCStrings<Result>(
    _ texts: [String],
    _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
) -> Result {
    let copies = texts.map { strdup($0) }
    defer { copies.forEach { free($0) } }
    return body(copies + [nil])
}
