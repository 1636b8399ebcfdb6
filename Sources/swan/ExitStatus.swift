import ArgumentParser
import Foundation
import SwanSystem

/// Maps errors to messages and exit codes, as in sysexits.h; docs/exit-codes.md lists them.
enum ExitStatus {
    /// Prints the error to standard error and exits with its code; help and version exit with 0.
    static func terminate(with error: any Error) -> Never {
        if let code = error as? ExitCode { end(code.rawValue) }
        if known(error) == nil, Swan.exitCode(for: error).isSuccess {
            do {
                try StandardOutput.write(Swan.fullMessage(for: error))
            } catch {
                fail(with: error)
            }
            exit(EXIT_SUCCESS)
        }
        fail(with: error)
    }

    private static func fail(with error: any Error) -> Never {
        var text = message(for: error)
        if code(for: error) == EX_USAGE, known(error) == nil {
            let arguments = Array(CommandLine.arguments.dropFirst())
            text = Typos.explained(text, arguments)
            CommandLineArguments.explain(text, arguments)
        }
        if Ranks.writes(error) { Terminal.standardError.write(kind: .error, text) }
        end(code(for: error))
    }

    /// Ends the process; the log file says how.
    private static func end(_ code: Int32) -> Never {
        Terminal.standardError.record("ended with exit code \(code)")
        exit(code)
    }

    /// The exit code for an error.
    static func code(for error: any Error) -> Int32 {
        known(error) ?? (Swan.exitCode(for: error) == .validationFailure ? EX_USAGE : EX_SOFTWARE)
    }

    /// The exit code for an error of Swan's modules; nil for others, such as the argument parser's.
    private static func known(_ error: any Error) -> Int32? {
        switch error {
        case let error as SwanError: error.code.exitStatus
        case is DecodingError: EX_DATAERR
        default: nil
        }
    }

    /// Appends advice to an out-of-memory message that has none.
    private static func addingAdvice(to message: String) -> String {
        let hasAdvice = ["try ", "--", "raise the limit"].contains { message.contains($0) }
        return hasAdvice
            ? message
            : "\(message); free memory, or try a smaller frame size or OMP_NUM_THREADS=1"
    }

    /// The message for an error. For an error of the argument parser it includes the command's
    /// usage.
    static func message(for error: any Error) -> String {
        if let error = error as? SwanError, error.code == .outOfMemory {
            return addingAdvice(to: error.message)
        }
        guard known(error) == nil else { return "\(error)" }
        guard Swan.exitCode(for: error) == .validationFailure else {
            return "internal error: \(error)"
        }
        let full = Swan.fullMessage(for: error)
        return full.hasPrefix("Error: ") ? String(full.dropFirst("Error: ".count)) : full
    }
}
