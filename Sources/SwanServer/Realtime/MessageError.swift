import Foundation
import SwanPipelines
import SwanSystem

/// Why a message was refused.
struct MessageError: Error, Sendable {
    /// A short name that programs can compare.
    let code: String
    /// What is wrong and what would be right.
    let message: String
    /// The key that is wrong.
    let parameter: String?
    /// The number of the change that is wrong.
    var event: UInt32?
    /// What would fit, if the server is at its capacity.
    var fits: StreamDemand?
    /// The seconds after which another attempt makes sense.
    var retryAfter: Int?

    init(_ code: String, _ message: String, parameter: String? = nil) {
        self.code = code
        self.message = message
        self.parameter = parameter
    }

    /// The client's part of an error: the pipeline's text names no files, and others stay in the server.
    init(_ error: any Error) {
        switch error {
        case let error as MessageError: self = error
        case let error as CapacityError: self.init(error)
        default:
            let error = error as? SwanError
            let message = error?.message ?? "the stream failed"
            self.init(
                "invalid_request",
                message.printable(limit: 500),
                parameter: error?.code == .emptyPrompt ? "prompt" : nil
            )
        }
    }

    init(_ error: CapacityError) {
        self.init("capacity_exhausted", error.description)
        (fits, retryAfter) = (error.fits, ServerOptions.retrySeconds)
    }

    /// Why a stream ended before its client wanted it to.
    init(ending error: any Error) {
        let code =
            switch (error as? SwanError)?.code {
            case .outOfMemory: "out_of_memory"
            case .invalidWeights: "not_finite"
            default: "stream_failed"
            }
        self.init(code, MessageError(error).message)
    }

    init(_ error: DecodingError) {
        let context = error.context
        var path = context?.codingPath ?? []
        if case .keyNotFound(let key, _) = error { path.append(key) }
        let key = Self.words(path).printable(limit: 80)
        let reason =
            switch error {
            case .keyNotFound: "is missing"
            case .typeMismatch, .valueNotFound: "has the wrong type"
            default: context?.debugDescription.printable(limit: 300) ?? "is invalid"
            }
        self.init(
            key.isEmpty ? "invalid_message" : "invalid_value",
            key.isEmpty ? "The message is not a valid JSON object." : "\(key): \(reason)",
            parameter: key.isEmpty ? nil : key
        )
    }

    /// A path as programmers write it: `prompts[0].weight`.
    static func words(_ path: [any CodingKey]) -> String {
        path.reduce(into: "") { text, key in
            if let index = key.intValue {
                text += "[\(index)]"
            } else {
                text += (text.isEmpty ? "" : ".") + key.stringValue
            }
        }
    }
}
