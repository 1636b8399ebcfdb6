import CSwanSystem
import Foundation

/// A process that runs beside others of its kind, and is killed when the thread that started it ends.
///
/// It shares standard output and error with this process.
package struct RankProcess: Sendable {
    /// How a process ended.
    package enum End: Sendable, Equatable {
        case exited(Int32)
        case signaled(Int32)

        /// The status that a shell would show.
        package var status: Int32 {
            switch self {
            case .exited(let code): code
            case .signaled(let signal): 128 + signal
            }
        }
    }

    /// The process number.
    package let number: Int32

    /// Starts a program.
    ///
    /// - Parameters:
    ///   - environment: All of its variables, as `NAME=value`.
    ///   - input: An open descriptor, which becomes the program's standard input; nil to share this
    ///     process's.
    package init(
        _ program: String,
        _ arguments: [String],
        environment: [String],
        input: Int32?
    ) throws(SwanError) {
        var child = Int32()
        let failure = withCStrings([program] + arguments) { arguments in
            withCStrings(environment) { environment in
                cs_spawn_rank(program, arguments, environment, input ?? -1, &child)
            }
        }
        guard failure == 0 else {
            throw SwanError(.outOfMemory, "cannot start a process: \(SwanError.reason(failure))")
        }
        number = child
    }

    /// Sends a signal to a process that has not been waited for.
    package func send(_ signal: Int32) { _ = kill(number, signal) }

    /// How the process ended; nil while it runs. Asked again after the end, the answer is a failure.
    package func end() -> End? {
        var status: Int32 = 0
        var waited = waitpid(number, &status, WNOHANG)
        while waited < 0, errno == EINTR { waited = waitpid(number, &status, WNOHANG) }
        guard waited != 0 else { return nil }
        let signal = status & 0x7F
        return signal == 0 ? .exited((status >> 8) & 0xFF) : .signaled(signal)
    }
}
