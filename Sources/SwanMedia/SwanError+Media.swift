import CMedia
import SwanSystem

extension SwanError.Code {
    init(_ code: cm_code) {
        switch code {
        case CM_NOT_FOUND: self = .noSuchFile
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
        case CM_CANNOT_CREATE: self = .cannotWrite
        case CM_DISK_FULL: self = .diskFull
        case CM_BROKEN_PIPE: self = .brokenPipe
        case CM_OUT_OF_MEMORY: self = .outOfMemory
        case CM_INVALID_ARGUMENT: self = .invalidArgument
        case CM_UNAVAILABLE: self = .deviceUnavailable
        case CM_END: self = .interrupted
        default: self = .io
        }
    }
}

/// Calls the C library and throws its error with `name` as a prefix.
@discardableResult
func calling(
    _ name: String,
    _ body: (UnsafeMutablePointer<cm_error>) -> cm_code,
) throws(SwanError) -> cm_code {
    var error = cm_error()
    let code = body(&error)
    if code == CM_OK || (code == CM_END && error.code == CM_OK) { return code }
    // FFmpeg's message may quote the file.
    let message = text(&error.message).printable(limit: 512)
    throw SwanError(SwanError.Code(code), "\(name): \(message)")
}

/// The text in a fixed-size array of C characters, up to its terminator.
func text<Characters>(_ characters: inout Characters) -> String {
    withUnsafeBytes(of: &characters) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
}
