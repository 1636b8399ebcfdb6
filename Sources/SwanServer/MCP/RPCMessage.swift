import Foundation

/// A request or notification of JSON-RPC 2.0.
struct RPCMessage: Decodable, Sendable {
    /// The request's id, a text or a number; nil for a notification.
    let id: JSONValue?
    let method: String
    let params: JSONValue

    private enum CodingKeys: String, CodingKey { case jsonrpc, id, method, params }

    init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        guard try values.decode(String.self, forKey: .jsonrpc) == "2.0" else {
            throw RPCError(.invalidRequest, "jsonrpc must be \"2.0\"")
        }
        id = try values.decodeIfPresent(JSONValue.self, forKey: .id)
        method = try values.decode(String.self, forKey: .method)
        params = try values.decodeIfPresent(JSONValue.self, forKey: .params) ?? [:]
        switch id {
        case nil, .text, .integer, .number: break
        default: throw RPCError(.invalidRequest, "id must be a text or a number")
        }
    }

    /// Parses a line.
    init(_ line: Data) throws(RPCError) {
        do {
            self = try JSONDecoder().decode(RPCMessage.self, from: line)
        } catch let error as RPCError {
            throw error
        } catch DecodingError.dataCorrupted(let context) where context.codingPath.isEmpty {
            throw RPCError(.parse, "the line is not valid JSON")
        } catch {
            throw RPCError(.invalidRequest, "the line is not a request of JSON-RPC 2.0")
        }
    }
}

/// An error of the protocol. What goes wrong in a tool is part of the tool's result instead.
struct RPCError: Error, Sendable {
    enum Code: Int, Sendable {
        case parse = -32_700
        case invalidRequest = -32_600
        case noSuchMethod = -32_601
        case invalidParams = -32_602
        case internalError = -32_603
        /// MCP: a revision of the protocol that this server does not speak.
        case unsupportedVersion = -32_022
    }

    let code: Code
    let message: String
    let data: JSONValue?

    init(_ code: Code, _ message: String, data: JSONValue? = nil) {
        (self.code, self.message, self.data) = (code, message, data)
    }
}

/// A response of JSON-RPC 2.0.
enum RPCResponse {
    /// The line of a result.
    static func line(_ id: JSONValue, _ result: JSONValue) -> Data {
        line(["jsonrpc": "2.0", "id": id, "result": result])
    }

    /// The line of an error; without an id if the request has none that can be read.
    static func line(_ id: JSONValue?, _ error: RPCError) -> Data {
        var body: [String: JSONValue] = [
            "code": .integer(error.code.rawValue), "message": .text(error.message),
        ]
        body["data"] = error.data
        return line(["jsonrpc": "2.0", "id": id ?? .null, "error": .object(body)])
    }

    private static func line(_ message: JSONValue) -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Only numbers that are not finite cannot be encoded.
        let unencodable = Data(
            #"{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"a number is not finite"}}"#
                .utf8
        )
        return ((try? encoder.encode(message)) ?? unencodable) + Data("\n".utf8)
    }
}
