import CMedia

/// Why a picture or video cannot be read or written.
public struct MediaError: Error, Sendable, CustomStringConvertible {
    /// Kinds of failure, for exit codes and for tests.
    public enum Code: Sendable, Hashable, CaseIterable {
        /// There is no such file.
        case notFound
        /// The file may not be read.
        case unreadable
        case isDirectory
        /// No bytes, or no frames.
        case empty
        case notAVideo
        /// A container that Swan does not open, such as a playlist that names other files.
        case forbiddenFormat
        case noVideoStream
        /// More pixels a frame than the limit.
        case tooLarge
        /// A codec, size, or kind of output that is not there.
        case unsupported
        case decoder
        case encoder
        /// An output that is also read, or that two outputs would be.
        case isInput
        /// An output that is there already, and may not be replaced.
        case exists
        /// The output cannot be created.
        case cannotCreate
        case diskFull
        case io
        /// The reader of a pipe went away.
        case brokenPipe
        case outOfMemory
        case invalidArgument
        /// `VideoReader.interrupt()` ended an opening.
        case interrupted
    }

    /// The kind of failure.
    public let code: Code
    /// What was wrong, where, and what would be right.
    public let message: String

    /// An error with its message, which names the file.
    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// The message.
    public var description: String { message }
}

extension MediaError.Code {
    init(_ code: cm_code) {
        switch code {
        case CM_NOT_FOUND: self = .notFound
        case CM_UNREADABLE: self = .unreadable
        case CM_IS_DIRECTORY: self = .isDirectory
        case CM_EMPTY: self = .empty
        case CM_NOT_A_VIDEO: self = .notAVideo
        case CM_FORBIDDEN_FORMAT: self = .forbiddenFormat
        case CM_NO_VIDEO_STREAM: self = .noVideoStream
        case CM_TOO_LARGE: self = .tooLarge
        case CM_UNSUPPORTED: self = .unsupported
        case CM_DECODER: self = .decoder
        case CM_ENCODER: self = .encoder
        case CM_CANNOT_CREATE: self = .cannotCreate
        case CM_DISK_FULL: self = .diskFull
        case CM_BROKEN_PIPE: self = .brokenPipe
        case CM_OUT_OF_MEMORY: self = .outOfMemory
        case CM_INVALID_ARGUMENT: self = .invalidArgument
        case CM_END: self = .interrupted
        default: self = .io
        }
    }
}

/// Runs one call of the C library; its failure is thrown with `name` in front.
@discardableResult
func calling(
    _ name: String,
    _ body: (UnsafeMutablePointer<cm_error>) -> cm_code,
) throws(MediaError) -> cm_code {
    var error = cm_error()
    let code = body(&error)
    if code == CM_OK || (code == CM_END && error.code == CM_OK) { return code }
    throw MediaError(MediaError.Code(code), "\(name): \(text(&error.message))")
}

/// The text in a fixed array of C characters, as far as its terminator.
func text<Characters>(_ characters: inout Characters) -> String {
    withUnsafeBytes(of: &characters) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
}
