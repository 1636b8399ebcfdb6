import Foundation
import SwanSystem

extension SwanError.Code {
    /// The exit status for an error, as in sysexits.h; see docs/exit-codes.md.
    var exitStatus: Int32 {
        switch self {
        case .invalidRequest, .emptyPrompt, .isInput: EX_USAGE
        case .noSuchFile, .unreadable: EX_NOINPUT
        case .noSuchModel, .outOfMemory, .deviceUnavailable: EX_UNAVAILABLE
        case .invalidFile, .invalidWeights, .invalidModel, .invalidConfiguration, .invalidRecipe,
            .invalidData, .invalidOption, .outOfRange, .trainingFailed, .isDirectory, .notRegular,
            .tooLarge, .notText, .empty, .notAVideo, .forbiddenFormat, .noVideoStream, .unsupported,
            .decoder:
            EX_DATAERR
        case .cannotWrite, .exists: EX_CANTCREAT
        case .encoder, .io, .diskFull, .brokenPipe: EX_IOERR
        case .peerFailed: EX_TEMPFAIL
        case .peersDiffer: EX_CONFIG
        case .invalidArgument, .missingOperator, .libraryFailed, .diverged: EX_SOFTWARE
        case .interrupted: 128 + SIGINT
        }
    }
}
