import HTTPTypes
import SwanHTTP
import SwanSystem

/// Why a job failed, in words and codes that are shown to clients: they contain no paths and no details of the
/// server.
struct JobFailure: Error, Codable, Sendable, Equatable {
    /// The kinds of failure.
    enum Code: String, Codable, Sendable {
        case unsupported = "unsupported_media"
        case tooLarge = "media_too_large"
        case damaged = "damaged_media"
        case crashed = "decoder_crashed"
        case timeout = "decoder_timeout"
        case unavailable = "decoder_unavailable"
        case invalid = "invalid_request"
        case outOfMemory = "out_of_memory"
        case noSpace = "insufficient_storage"
        case interrupted = "interrupted"
        case failed = "generation_failed"
    }

    let code: Code
    let message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    init(_ problem: DecodeMessage.Problem) {
        let code: Code =
            switch problem.kind {
            case .unsupported: .unsupported
            case .tooLarge: .tooLarge
            case .damaged: .damaged
            case .unconfined: .unavailable
            }
        // Whatever wrote it may have been taken over by the file.
        self.init(code, problem.message.printable(limit: 300))
    }

    /// The client's part of any error; the server's log has the rest.
    init(_ error: any Error) {
        if let failure = error as? JobFailure {
            self = failure
            return
        }
        switch (error as? SwanError)?.code {
        case .outOfMemory:
            self.init(
                .outOfMemory,
                "There is not enough memory; try a smaller size or fewer frames."
            )
        case .diskFull:
            self.init(.noSpace, "The server's disk is full.")
        case .cannotWrite, .io:
            self.init(.noSpace, "The server cannot write the video.")
        case .invalidRequest, .emptyPrompt:
            // These are about what was asked for.
            self.init(.invalid, Self.withoutPaths((error as? SwanError)?.message ?? ""))
        default:
            self.init(.failed, "The video could not be made. The server's log has the details.")
        }
    }

    /// A message for clients, whom the names of the server's files do not concern.
    static func withoutPaths(_ message: String) -> String {
        message.replacing(/(^|\s)[~.]{0,2}\/[^\s:,;]+(?:: )?/) { $0.1 }.printable(limit: 500)
    }

    /// The failure as the answer to a request.
    func response(parameter: String?) -> APIError {
        let status: HTTPResponse.Status =
            switch code {
            case .unsupported: .unsupportedMediaType
            case .tooLarge: .contentTooLarge
            case .damaged, .crashed, .timeout: .unprocessableContent
            case .invalid: .badRequest
            case .noSpace: .insufficientStorage
            case .unavailable, .outOfMemory, .interrupted: .serviceUnavailable
            case .failed: .internalServerError
            }
        return APIError(status, code.rawValue, message, parameter: parameter)
    }
}
