import Foundation
import NIOCore
import NIOFoundationCompat
import NIOHTTP1
import SwanSystem

/// Reads the hub's answers about a repository.
struct HubAPI {
    let connections: HubConnections
    let answer: HubAnswer
    let report: @Sendable (PullEvent) -> Void

    /// The number of bytes of an answer beyond which it is refused.
    private static let largest = 1 << 25

    /// Reads a JSON value, and the address of the page that follows it.
    func read<Value: Decodable>(
        _ type: Value.Type,
        _ address: String
    ) async throws -> (value: Value, next: String?) {
        guard let url = URL(string: address) else {
            throw SwanError(.invalidRequest, "'\(address.printable())': is not an address")
        }
        let (data, headers) = try await Retries.repeating(connections.environment.timing, report) {
            try await fetch(url)
        }
        do {
            return (try JSONDecoder().decode(type, from: data), try Self.nextPage(headers, url))
        } catch let error as SwanError {
            throw error
        } catch {
            throw SwanError(
                .invalidData,
                "\(HubConnections.shown(url)): its answer is not that of a hub of models; is "
                    + "HF_ENDPOINT right?",
                cause: error
            )
        }
    }

    private func fetch(_ url: URL) async throws -> (Data, HTTPHeaders) {
        let reply = try await connections.get(url)
        try answer.requireSuccess(reply)
        do {
            return (
                Data(buffer: try await reply.body.collect(upTo: Self.largest)), reply.headers
            )
        } catch let error as NIOTooManyBytesError {
            throw SwanError(
                .tooLarge,
                "\(HubConnections.shown(url)): its answer is too large",
                cause: error
            )
        } catch {
            throw HubFailure.describing(error, at: url)
        }
    }

    /// The address in `Link: <…>; rel="next"`, which has to be on the same host.
    private static func nextPage(_ headers: HTTPHeaders, _ url: URL) throws(SwanError) -> String? {
        for header in headers["Link"] {
            for match in header.matches(of: /<([^>]*)>\s*;[^<]*rel="?next"?/) {
                let next = URL(string: String(match.1), relativeTo: url)?.absoluteURL
                guard let next, next.host == url.host, next.port == url.port else {
                    throw SwanError(
                        .invalidData,
                        "\(HubConnections.shown(url)): continues its list on another host"
                    )
                }
                return next.absoluteString
            }
        }
        return nil
    }
}

/// What an answer was about, to say what its status means.
struct HubAnswer: Sendable {
    let repository: String?
    let revision: String?
    let path: String?
    let hasToken: Bool
    let endpoint: URL

    /// Throws what a status other than success means.
    func requireSuccess(_ reply: HubReply) throws {
        guard !(200..<300).contains(reply.status) else { return }
        if let failure = HubFailure(status: reply.status, reply.headers, at: reply.url) {
            throw failure
        }
        let isHub = reply.url.host == endpoint.host && reply.url.port == endpoint.port
        guard let repository, isHub else { throw elsewhere(reply) }
        throw error(reply, repository)
    }

    /// What an answer means that is not the hub's own.
    private func elsewhere(_ reply: HubReply) -> any Error {
        let place = HubConnections.shown(reply.url)
        switch reply.status {
        case 401, 403:
            let message = "\(place): access is denied (HTTP status \(reply.status))"
            // The hub gives addresses that are valid for some time: the next one may be.
            return repository == nil
                ? SwanError(.unreadable, message) : HubFailure(message: message)
        case 404, 410: return SwanError(.noSuchFile, "\(place): there is no such file")
        default: return SwanError(.io, "\(place): is answered with HTTP status \(reply.status)")
        }
    }

    private func error(_ reply: HubReply, _ repository: String) -> SwanError {
        let page = endpoint.absoluteString + "/" + repository
        let token = "HF_TOKEN (a token is made at \(endpoint.absoluteString)/settings/tokens)"
        let text = (reply.header("X-Error-Message") ?? "").printable(limit: 300)
        switch (reply.header("X-Error-Code") ?? "", reply.status) {
        case ("GatedRepo", _):
            let rest = hasToken ? "with the account of your token" : "and set " + token
            return SwanError(
                .unreadable,
                "\(repository): its authors want their terms accepted: accept them at "
                    + "\(page) \(rest)"
            )
        case ("RevisionNotFound", _):
            return SwanError(
                .noSuchModel,
                "\(repository): has no revision '\(revision ?? "main")'"
            )
        case ("EntryNotFound", _):
            return SwanError(.noSuchFile, "\(repository): has no file '\(path ?? "")'")
        case (_, 401) where text.contains("credentials"):
            return SwanError(.unreadable, "\(repository): the token is not valid; set " + token)
        case ("RepoNotFound", _), (_, 401), (_, 404):
            let rest = hasToken ? "your token does not give access to it" : "set " + token
            return SwanError(
                .noSuchModel,
                "\(repository): there is no such repository at \(endpoint.absoluteString), or it "
                    + "is private: check the name; if it is private, \(rest)"
            )
        case (_, 403):
            return SwanError(
                .unreadable,
                "\(repository): access is denied\(text.isEmpty ? "" : ": " + text)"
                    + (hasToken ? "" : "; set " + token)
            )
        default:
            return SwanError(
                .io,
                "\(page): is answered with HTTP status \(reply.status)"
                    + (text.isEmpty ? "" : ": " + text)
            )
        }
    }
}
