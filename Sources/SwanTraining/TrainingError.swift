import Foundation

/// What went wrong in a recipe, in the data it names, or while training.
public struct TrainingError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kind of failure, for a caller that acts on it.
    public enum Code: Sendable, Equatable {
        /// A recipe that cannot be read, or that asks for what cannot be done.
        case invalidRecipe
        /// A file or folder that is not there.
        case noSuchFile
        /// Images, clips or checkpoints that are not what they should be.
        case invalidData
        /// An output folder that cannot be used.
        case cannotWrite
        /// The disk had no more room.
        case diskFull
        /// Numbers that stopped being finite.
        case diverged
        /// Somebody asked for the end; a checkpoint has all that was done.
        case interrupted
    }

    /// The kind of failure.
    public let code: Code
    /// What was wrong, where, and what would be right.
    public let message: String

    /// An error of a kind, with a message.
    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// What the system said when something was written to `path`.
    init(writing path: String, _ error: any Error) {
        var number = ((error as? CocoaError)?.underlying as? POSIXError)?.code.rawValue
        if (error as? CocoaError)?.code == .fileWriteOutOfSpace { number = number ?? ENOSPC }
        let isFull = [ENOSPC, EDQUOT, EFBIG].contains(number)
        let reason = number.map { String(cString: strerror($0)) } ?? error.localizedDescription
        self.init(
            isFull ? .diskFull : .cannotWrite,
            "\(path): cannot be \(isFull ? "written" : "created"): \(reason)"
        )
    }

    /// The message.
    public var description: String { message }
}
