import ArgumentParser
import Foundation
import SwanMedia
import SwanPipelines
import SwanSchedulers
import SwanSystem
import SwanText
import SwanTraining
import Torch

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
        case let error as SwanError: code(error.code)
        case let error as TorchError: code(error.code)
        case let error as MediaError: code(error.code)
        case let error as TextError: code(error.code)
        case let error as TrainingError: code(error.code)
        case let error as SystemError: code(error.code)
        case is SchedulerError, is DecodingError: EX_DATAERR
        default: nil
        }
    }

    private static func code(_ code: SwanError.Code) -> Int32 {
        switch code {
        case .invalidRequest: EX_USAGE
        case .invalidConfiguration, .invalidModel: EX_DATAERR
        case .noSuchModel: EX_UNAVAILABLE
        case .noSuchFile: EX_NOINPUT
        }
    }

    private static func code(_ code: TorchError.Code) -> Int32 {
        switch code {
        case .invalidFile, .invalidWeights: EX_DATAERR
        case .noSuchFile: EX_NOINPUT
        case .deviceUnavailable, .outOfMemory: EX_UNAVAILABLE
        case .invalidArgument, .missingOperator: EX_SOFTWARE
        case .cannotWrite: EX_CANTCREAT
        case .diskFull, .io: EX_IOERR
        }
    }

    private static func code(_ code: SystemError.Code) -> Int32 {
        switch code {
        case .outOfMemory: EX_UNAVAILABLE
        case .diskFull: EX_IOERR
        }
    }

    private static func code(_ code: MediaError.Code) -> Int32 {
        switch code {
        case .notFound, .unreadable: EX_NOINPUT
        case .isDirectory, .empty, .notAVideo, .forbiddenFormat, .noVideoStream, .tooLarge,
            .unsupported, .decoder:
            EX_DATAERR
        case .outOfMemory: EX_UNAVAILABLE
        case .invalidArgument: EX_SOFTWARE
        case .cannotCreate, .exists: EX_CANTCREAT
        case .isInput: EX_USAGE
        case .encoder, .diskFull, .io, .brokenPipe: EX_IOERR
        case .interrupted: 128 + SIGINT
        }
    }

    private static func code(_ code: TextError.Code) -> Int32 {
        switch code {
        case .emptyPrompt: EX_USAGE
        case .noSuchFile: EX_NOINPUT
        case .invalidModel, .outOfRange, .trainingFailed: EX_DATAERR
        case .invalidArgument, .libraryFailed: EX_SOFTWARE
        }
    }

    private static func code(_ code: TrainingError.Code) -> Int32 {
        switch code {
        case .invalidRecipe, .invalidData: EX_DATAERR
        case .noSuchFile: EX_NOINPUT
        case .cannotWrite: EX_CANTCREAT
        case .diskFull: EX_IOERR
        case .diverged: EX_SOFTWARE
        case .interrupted: 128 + SIGINT
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
        if let error = error as? TorchError, error.code == .outOfMemory {
            return advising(error.message)
        }
        if let error = error as? MediaError, error.code == .outOfMemory {
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
