import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import SwanHTTP

/// Responses in JSON.
enum JSONResponse {
    /// A response with a value, whose keys are in the order of the alphabet.
    static func make(
        _ value: some Encodable,
        _ status: HTTPResponse.Status = .ok,
        keys: JSONEncoder.KeyEncodingStrategy = .useDefaultKeys
    ) -> Response {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = keys
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(value) else { return APIError.internalError.response }
        return Response(
            status: status,
            headers: [.contentType: "application/json", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: data))
        )
    }
}
