import HTTPTypes
import HummingbirdCore
import NIOCore
import Testing

@testable import SwanHTTP

@Suite struct APIErrorTests {
    @Test func bodiesHaveAllKeys() {
        #expect(
            String(buffer: APIError.notFound.body)
                == #"{"error":{"code":"not_found","message":"There is nothing at this path.","param":null,"type":"invalid_request_error"}}"#
                + "\n"
        )
    }

    @Test func typesFollowFromTheStatus() {
        #expect(APIError(.unauthorized, "a", "b").type == "authentication_error")
        #expect(APIError(.tooManyRequests, "a", "b").type == "rate_limit_error")
        #expect(APIError(.serviceUnavailable, "a", "b").type == "server_error")
    }

    @Test func responsesCarryTheHeaders() {
        let error = APIError(.serviceUnavailable, "full", "Full.", headers: [.retryAfter: "2"])
        #expect(error.response.headers[.retryAfter] == "2")
        #expect(error.response.headers[.contentType] == "application/json")
    }
}
