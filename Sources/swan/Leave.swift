import ArgumentParser
import Foundation
import SwanSystem

/// The ways the program ends. Codes as in sysexits.h; docs/exit-codes.md lists them.
enum Leave {
    /// Says what was wrong on standard error and exits with its code; help and version exit with 0.
    static func with(_ error: any Error) -> Never {
        if let code = error as? ExitCode { exit(code.rawValue) }
        if known(error) == nil, Swan.exitCode(for: error).isSuccess {
            do {
                try StandardOutput.write(Swan.fullMessage(for: error))
            } catch {
                leave(with: error)
            }
            exit(EXIT_SUCCESS)
        }
        leave(with: error)
    }

    private static func leave(with error: any Error) -> Never {
        Terminal.standardError.write(kind: .error, message(for: error))
        exit(code(for: error))
    }

    /// The code for what ended a command.
    static func code(for error: any Error) -> Int32 {
        known(error) ?? (Swan.exitCode(for: error) == .validationFailure ? EX_USAGE : EX_SOFTWARE)
    }

    /// The code for an error of Swan's modules; nil for others, such as the argument parser's.
    private static func known(_ error: any Error) -> Int32? {
        switch error {
        case let error as SwanError: error.code.exitStatus
        case is DecodingError: EX_DATAERR
        default: nil
        }
    }

    /// Adds what to try to what says that memory was refused and no more.
    private static func advising(_ message: String) -> String {
        let hasAdvice = ["try ", "--", "raise the limit"].contains { message.contains($0) }
        return hasAdvice
            ? message
            : "\(message); free memory, or try a smaller size of pictures, or OMP_NUM_THREADS=1"
    }

    /// What is said of an error; of the parser's with the usage of the command that was meant.
    static func message(for error: any Error) -> String {
        if let error = error as? SwanError, error.code == .outOfMemory {
            return advising(error.message)
        }
        guard known(error) == nil else { return "\(error)" }
        guard Swan.exitCode(for: error) == .validationFailure else {
            return "internal error: \(error)"
        }
        // The parser's full message has the usage lines of the command that was meant.
        let full = Swan.fullMessage(for: error)
        return full.hasPrefix("Error: ") ? String(full.dropFirst("Error: ".count)) : full
    }
}
