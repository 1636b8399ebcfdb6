import Glibc

/// The error that all modules of Swan throw: a code, a message for the user, and a cause.
public struct SwanError: Error, Sendable, CustomStringConvertible {
    /// The kinds of error. docs/exit-codes.md lists the exit status for each.
    public enum Code: Sendable, Hashable, CaseIterable {
        // MARK: Requests

        /// A request that is invalid regardless of its files: a size, a count, a combination.
        case invalidRequest
        /// A prompt that is empty after cleaning.
        case emptyPrompt
        /// An output that is also an input, or used for two outputs.
        case isInput

        // MARK: Files that are missing or cannot be read

        /// A file that does not exist.
        case noSuchFile
        /// A file that cannot be read.
        case unreadable
        /// A model that does not exist.
        case noSuchModel

        // MARK: The contents of files

        /// A file of tensors that cannot be read or is not what it claims to be.
        case invalidFile
        /// Weights that are missing, unused, misshapen or not finite.
        case invalidWeights
        /// A model folder that is incomplete, or whose parts do not fit together.
        case invalidModel
        /// A configuration file that cannot be used.
        case invalidConfiguration
        /// A training recipe that cannot be parsed, or that asks for something impossible.
        case invalidRecipe
        /// Invalid images, clips or training checkpoints.
        case invalidData
        /// An invalid option or list of steps of a schedule.
        case invalidOption
        /// A token id or a vocabulary that is larger than the embedding it is used with.
        case outOfRange
        /// A tokenizer that could not be trained from the given sentences.
        case trainingFailed
        /// A directory in place of a file.
        case isDirectory
        /// A pipe, a socket or a device in place of a regular file.
        case notRegular
        /// More bytes or pixels than the limit.
        case tooLarge
        /// Bytes that are not UTF-8 text.
        case notText
        /// A file without bytes, or a video without frames.
        case empty
        /// A file that is not a video or an image.
        case notAVideo
        /// A container that Swan refuses to open, such as a playlist that refers to other files.
        case forbiddenFormat
        /// A file with audio but no video.
        case noVideoStream
        /// A codec, a size or a kind of output that is not available.
        case unsupported
        /// Data that cannot be decoded.
        case decoder

        // MARK: Outputs

        /// An output that cannot be created.
        case cannotWrite
        /// An output that exists and may not be replaced.
        case exists
        /// A failure of an encoder.
        case encoder
        /// A failed read or write.
        case io
        /// A full disk.
        case diskFull
        /// A pipe whose reader has exited.
        case brokenPipe

        // MARK: The machine

        /// Not enough memory, address space or threads.
        case outOfMemory
        /// A device that does not exist or cannot be initialized.
        case deviceUnavailable

        // MARK: Several processes

        /// A peer that failed, left or does not answer, or a broken network.
        case peerFailed
        /// Processes that were started with different programs, models or options.
        case peersDiffer

        // MARK: Programming

        /// An argument that an operator or a library rejects: a shape, dtype or device.
        case invalidArgument
        /// An operator that libtorch does not have.
        case missingOperator
        /// A library that failed on valid input.
        case libraryFailed
        /// Training whose numbers are no longer finite.
        case diverged

        // MARK: Cancellation

        /// Work that was cancelled.
        case interrupted
    }

    /// The kind of error.
    public let code: Code
    /// The problem, where it is, and how to fix it.
    public let message: String
    /// The underlying error.
    public let cause: (any Error)?

    /// Creates an error.
    public init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }

    /// The message.
    public var description: String { message }

    /// The same error with the path as a prefix of the message, unless it already is.
    public func about(_ path: String) -> SwanError {
        message.hasPrefix(path) ? self : SwanError(code, "\(path): \(message)", cause: cause)
    }

    /// The same message and cause with another code.
    package func `as`(_ code: Code) -> SwanError { SwanError(code, message, cause: cause) }
}

extension SwanError: Equatable {
    /// Compares codes and messages, but not causes.
    public static func == (a: SwanError, b: SwanError) -> Bool {
        a.code == b.code && a.message == b.message
    }
}

extension SwanError {
    /// The system's description of an error number.
    package static func reason(_ number: Int32) -> String { String(cString: strerror(number)) }
}
