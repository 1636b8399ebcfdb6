import CTorch
import SwanSystem
import Foundation

/// What went wrong in the tensor engine or in a tensor file.
public struct TorchError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kind of failure, for a caller that acts on it.
    public enum Code: Sendable, Equatable {
        /// An operator refused its arguments: shapes, dtypes, devices.
        case invalidArgument
        /// Memory was refused; the message says how much was asked for.
        case outOfMemory
        /// A device that is not there or does not start.
        case deviceUnavailable
        /// The engine has no such operator.
        case missingOperator
        /// A file that cannot be read or is not what it says it is.
        case invalidFile
        /// A file that is not there.
        case noSuchFile
        /// A file that could not be created.
        case cannotWrite
        /// A file that could not be written to its end.
        case io
        /// The disk had no more room for a file.
        case diskFull
        /// Weights that are missing, unused, misshapen or not finite.
        case invalidWeights
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

    /// The message.
    public var description: String { message }

    /// The same error about a file, whose path the message then begins with, once.
    public func about(_ path: String) -> TorchError {
        message.hasPrefix(path) ? self : TorchError(code, "\(path): \(message)")
    }
}

extension TorchError {
    /// What kept a file from being read.
    package init(_ error: FileError) {
        self.init(error.code == .noSuchFile ? .noSuchFile : .invalidFile, error.message)
    }

    /// Takes the message out of an error of the C interface.
    init(taking error: inout ct_error) {
        let message = error.message.map { String(cString: $0) } ?? "unknown error"
        ct_error_free(&error)
        switch error.kind {
        case CT_ERROR_OUT_OF_MEMORY:
            self.init(.outOfMemory, "out of memory: \(Self.request(in: message))")
        case CT_ERROR_NOT_FOUND: self.init(.missingOperator, message)
        case CT_ERROR_FILE: self.init(.invalidFile, message)
        case CT_ERROR_DEVICE: self.init(.deviceUnavailable, message)
        case CT_ERROR_OF_BODY: self = BodyError.taken(from: error.body)
        default: self.init(.invalidArgument, message)
        }
    }

    /// The engine's words on how much was asked for, without its own prefix.
    private static func request(in message: String) -> String {
        let firstLine = message.prefix { $0 != "\n" }
        guard let words = firstLine.firstMatch(of: /you tried to allocate (\d+) bytes/),
            let bytes = Double(words.1)
        else { return String(firstLine) }
        return "\(Int((bytes / 1e6).rounded(.up))) MB more were refused"
    }
}
