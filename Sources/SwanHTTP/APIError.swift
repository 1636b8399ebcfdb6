import Foundation
package import HTTPTypes
package import Hummingbird
import HummingbirdCore
import NIOCore

/// An error that is sent to the client: a status, a code for programs and a message for people.
///
/// Route handlers throw it. The body is `{"error": {"message", "type", "param", "code"}}`.
package struct APIError: Error, Sendable, Equatable {
    /// The status of the response.
    package let status: HTTPResponse.Status
    /// A short name that programs can compare, such as `invalid_token`.
    package let code: String
    /// What was wrong and what would be right. Never contains paths or texts of other users.
    package let message: String
    /// The parameter or header that was wrong.
    package let parameter: String?
    /// Numbers for programs, which become further keys of the error: what would be accepted, for example.
    package var details: [String: [String: Double]] = [:]
    /// Headers of the response besides those that describe the body.
    package var headers: HTTPFields

    /// Creates an error.
    package init(
        _ status: HTTPResponse.Status,
        _ code: String,
        _ message: String,
        parameter: String? = nil,
        headers: HTTPFields = [:]
    ) {
        self.status = status
        self.code = code
        self.message = message
        self.parameter = parameter
        self.headers = headers
    }

    /// The category of the error, with the names that other inference servers use.
    package var type: String {
        switch status.code {
        case 401: "authentication_error"
        case 403: "permission_error"
        case 429: "rate_limit_error"
        case 500...: "server_error"
        default: "invalid_request_error"
        }
    }

    /// The body of the response.
    package var body: ByteBuffer {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let envelope = Envelope(error: self)
        guard let data = try? encoder.encode(envelope) else { return ByteBuffer(string: "{}") }
        return ByteBuffer(bytes: data + Data("\n".utf8))
    }

    private struct Envelope: Encodable {
        let error: APIError
    }
}

extension APIError: Encodable {
    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }

        init(_ name: String) { stringValue = name }
        init?(stringValue: String) { self.init(stringValue) }
        init?(intValue: Int) { nil }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        try container.encode(message, forKey: Key("message"))
        try container.encode(type, forKey: Key("type"))
        // Present even if nil, as clients of such APIs expect.
        try container.encode(parameter, forKey: Key("param"))
        try container.encode(code, forKey: Key("code"))
        for (name, numbers) in details { try container.encode(numbers, forKey: Key(name)) }
    }
}

extension APIError: HTTPResponseError {
    /// The error as a response.
    package var response: Response {
        var headers = headers
        headers[.contentType] = "application/json"
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: body))
    }

    package func response(from request: Request, context: some RequestContext) -> Response {
        response
    }
}

extension APIError {
    /// A path that leads nowhere.
    package static let notFound = APIError(.notFound, "not_found", "There is nothing at this path.")

    /// A failure of the server, whose details only its log contains.
    package static let internalError = APIError(
        .internalServerError,
        "internal_error",
        "The server failed to answer this request. Its log has the details."
    )

    /// A body larger than the limit.
    package static func bodyTooLarge(limit: Int) -> APIError {
        APIError(
            .contentTooLarge,
            "body_too_large",
            "The body of the request is larger than \(limit) bytes."
        )
    }

    /// A path that exists, but not for the method of the request.
    package static func methodNotAllowed(_ allowed: [HTTPRequest.Method]) -> APIError {
        let methods = allowed.map(\.rawValue).joined(separator: ", ")
        return APIError(
            .methodNotAllowed,
            "method_not_allowed",
            "This path accepts only \(methods).",
            headers: [.allow: methods]
        )
    }

    /// The error for whatever a route handler threw; nil if it is a failure of the server.
    init?(_ error: any Error, bodyLimit: Int) {
        switch error {
        case let error as APIError:
            self = error
        case is NIOTooManyBytesError:
            self = .bodyTooLarge(limit: bodyLimit)
        case let error as HTTPError where error.status == .notFound && error.body == nil:
            self = .notFound
        case let error as HTTPError:
            self.init(
                error.status,
                error.status.reasonPhrase.lowercased().replacing(" ", with: "_"),
                error.body ?? error.status.reasonPhrase,
                headers: error.headers
            )
        default:
            return nil
        }
    }
}
