import SwanModels
import Torch

/// What stopped a job: a request that cannot be met, or model data that does not fit.
///
/// Errors of the layers below (`TorchError`, `MediaError`, `TextError`) pass through as they are.
public struct SwanError: Error, Sendable, CustomStringConvertible {
    /// The kind of failure, for a caller that acts on it.
    public enum Code: Sendable, Hashable {
        /// A request that is wrong in itself: a size, a count, a combination.
        case invalidRequest
        /// A configuration file that cannot be used.
        case invalidConfiguration
        /// A model folder that is incomplete or does not fit.
        case invalidModel
        /// A model, or a file of it, that is not there.
        case noSuchModel
        /// A file that a request names and that is not there.
        case noSuchFile
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
}

extension NumberLimits {
    /// Throws an error of a kind where a number that stands in a file is outside its range.
    static func require<Value: Comparable>(
        _ value: Value,
        in range: ClosedRange<Value>,
        _ key: String,
        of file: String,
        _ code: SwanError.Code
    ) throws(SwanError) {
        do {
            try require(value, in: range, key)
        } catch {
            throw SwanError(code, error.about(file).message)
        }
    }
}
