import Foundation
import SwanPipelines
import SwanSystem

/// The Model Context Protocol: answers requests by calling tools.
///
/// It speaks the revisions with a handshake (`initialize`) and the one without (2026-07-28), whose requests carry their
/// revision with them.
struct AgentProtocol: Sendable {
    private static let handshakeVersions = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]
    private static let statelessVersions = ["2026-07-28"]
    private static let versionKey = "io.modelcontextprotocol/protocolVersion"
    private static let instructions = """
        Restyles video with a text prompt. Call start with a video file or a picture, look at the result with \
        grab_frame, and change it with prompt and parameters. styles lists what the model can do.
        """

    /// The program's version.
    let version: String
    /// The tools, once the model is loaded.
    let tools: @Sendable () async throws -> AgentTools

    /// The result of a request.
    func result(_ request: RPCMessage) async throws -> JSONValue {
        let revision = request.params["_meta"]?[Self.versionKey]?.text
        if let revision, !Self.statelessVersions.contains(revision) {
            throw RPCError(
                .unsupportedVersion,
                "unsupported protocol version",
                data: [
                    "supported": .list(Self.statelessVersions.map { .text($0) }),
                    "requested": .text(revision.printable(limit: 40)),
                ]
            )
        }
        let isStateless = revision != nil
        switch request.method {
        case "initialize": return handshake(request.params)
        case "ping": return [:]
        case "server/discover": return discovery
        case "tools/list":
            let tools = JSONValue.list(AgentTool.allCases.map(\.description))
            return isStateless ? cacheable(["tools": tools]) : ["tools": tools]
        case "tools/call":
            var result = try await call(request.params)
            if isStateless { result["resultType"] = "complete" }
            return .object(result)
        default:
            throw RPCError(
                .noSuchMethod,
                "there is no method '\(request.method.printable(limit: 80))'"
            )
        }
    }

    // MARK: - Introductions

    private var server: JSONValue { ["name": "swan", "title": "Swan", "version": .text(version)] }

    private func handshake(_ params: JSONValue) -> JSONValue {
        let wanted = params["protocolVersion"]?.text
        let chosen = Self.handshakeVersions.first { $0 == wanted } ?? Self.handshakeVersions[0]
        return [
            "protocolVersion": .text(chosen), "capabilities": ["tools": ["listChanged": false]],
            "serverInfo": server, "instructions": .text(Self.instructions),
        ]
    }

    private var discovery: JSONValue {
        cacheable([
            "supportedVersions": .list(Self.statelessVersions.map { .text($0) }),
            "capabilities": ["tools": ["listChanged": false]],
            "instructions": .text(Self.instructions),
            "_meta": ["io.modelcontextprotocol/serverInfo": server],
        ])
    }

    /// A result that stays the same as long as the server runs.
    private func cacheable(_ result: [String: JSONValue]) -> JSONValue {
        .object(
            result.merging([
                "resultType": "complete", "ttlMs": 3_600_000, "cacheScope": "private",
            ]) { first, _ in first }
        )
    }

    // MARK: - Tools

    private func call(_ params: JSONValue) async throws -> [String: JSONValue] {
        guard let name = params["name"]?.text else {
            throw RPCError(.invalidParams, "name must be the name of a tool")
        }
        guard let tool = AgentTool(rawValue: name) else {
            throw RPCError(.invalidParams, "there is no tool '\(name.printable(limit: 80))'")
        }
        do {
            return content(try await tools().call(tool, params["arguments"] ?? [:]))
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            return [
                "content": [["type": "text", "text": .text(Self.text(error))]], "isError": true,
            ]
        }
    }

    private func content(_ result: AgentResult) -> [String: JSONValue] {
        var blocks: [JSONValue] = [["type": "text", "text": .text(result.text)]]
        if let picture = result.picture {
            blocks.append([
                "type": "image", "data": .text(Data(picture).base64EncodedString()),
                "mimeType": "image/jpeg",
            ])
        }
        var content: [String: JSONValue] = ["content": .list(blocks), "isError": false]
        content["structuredContent"] = result.data
        return content
    }

    /// What an agent reads about an error.
    private static func text(_ error: any Error) -> String {
        switch error {
        case let error as AgentError: error.message
        case let error as MessageError: error.message
        case DecodingError.dataCorrupted(let context) where context.codingPath.isEmpty:
            context.debugDescription.printable(limit: 500)
        case let error as DecodingError: MessageError(error).message
        case let error as SwanError: error.message.printable(limit: 500)
        default: "the call failed"
        }
    }
}
