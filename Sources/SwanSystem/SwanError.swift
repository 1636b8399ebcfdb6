import Glibc

/// The error that every module of Swan throws: what kind of failure, a message for people, and its cause.
public struct SwanError: Error, Sendable, CustomStringConvertible {
    /// The kind of failure, for a caller that acts on it.
    ///
    /// The exit status of the program for each is in docs/exit-codes.md.
    public enum Code: Sendable, Hashable, CaseIterable {
        // MARK: Requests

        /// A request that is wrong in itself: a size, a count, a combination.
        case invalidRequest
        /// A prompt of which nothing is left after cleaning.
        case emptyPrompt
        /// An output that is also an input, or two outputs in one place.
        case isInput

        // MARK: Files that are missing or cannot be read

        /// A file that does not exist.
        case noSuchFile
        /// A file that the system does not let us read.
        case unreadable
        /// A model that does not exist.
        case noSuchModel

        // MARK: The contents of files

        /// A file of tensors that cannot be read or is not what it claims to be.
        case invalidFile
        /// Weights that are missing, unused, misshapen or not finite.
        case invalidWeights
        /// A model folder that is incomplete, or whose parts do not fit each other.
        case invalidModel
        /// A configuration file that cannot be used.
        case invalidConfiguration
        /// A training recipe that cannot be read, or that asks for something impossible.
        case invalidRecipe
        /// Images, clips or checkpoints that are not what they should be.
        case invalidData
        /// An option, or a list of steps, that no schedule can have.
        case invalidOption
        /// A token id or a vocabulary that is larger than the embedding it is used with.
        case outOfRange
        /// A tokenizer that could not be trained from the sentences given.
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
        /// A file that is not a video or a picture.
        case notAVideo
        /// A container that Swan does not open, such as a playlist that names other files.
        case forbiddenFormat
        /// A file with sound but no video.
        case noVideoStream
        /// A codec, a size or a kind of output that is not available.
        case unsupported
        /// Data that a decoder refuses.
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
        /// A pipe whose reader went away.
        case brokenPipe

        // MARK: The machine

        /// Memory, address space or threads that the system refused.
        case outOfMemory
        /// A device that is not there or does not start.
        case deviceUnavailable

        // MARK: Programming

        /// An argument that an operator or a library refuses: shapes, dtypes, devices.
        case invalidArgument
        /// An operator that the engine does not have.
        case missingOperator
        /// A library that failed on input that it should accept.
        case libraryFailed
        /// Numbers that stopped being finite in training.
        case diverged

        // MARK: Cancellation

        /// Work that was stopped on request.
        case interrupted
    }

    /// The kind of failure.
    public let code: Code
    /// What was wrong, where, and what would be right.
    public let message: String
    /// The error that led to this one.
    public let cause: (any Error)?

    /// An error of a kind, with a message.
    public init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }

    /// The message.
    public var description: String { message }

    /// The same error about a file: the message begins with its path, once.
    public func about(_ path: String) -> SwanError {
        message.hasPrefix(path) ? self : SwanError(code, "\(path): \(message)", cause: cause)
    }

    /// The same message and cause as a failure of another kind.
    package func `as`(_ code: Code) -> SwanError { SwanError(code, message, cause: cause) }
}

extension SwanError: Equatable {
    /// Whether code and message are equal; causes are not compared.
    public static func == (a: SwanError, b: SwanError) -> Bool {
        a.code == b.code && a.message == b.message
    }
}

extension SwanError {
    /// The system's text for an error number.
    package static func reason(_ number: Int32) -> String { String(cString: strerror(number)) }
}
