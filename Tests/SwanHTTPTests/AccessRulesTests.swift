import Foundation
import HTTPTypes
import NIOHTTP1
import Testing

@testable import SwanHTTP

@Suite struct AccessRulesTests {
    private let token: AccessToken

    init() throws {
        token = try AccessToken("0123456789abcdef")
    }

    private func head(
        _ method: HTTPMethod = .GET,
        _ uri: String = "/",
        _ headers: [(String, String)] = [],
        host: String = "localhost:7860"
    ) -> HTTPRequestHead {
        let headers = HTTPHeaders([("Host", host)] + headers)
        return HTTPRequestHead(version: .http1_1, method: method, uri: uri, headers: headers)
    }

    private func status(
        _ head: HTTPRequestHead,
        _ change: (inout WebServerOptions) -> Void = { _ in }
    ) -> Int {
        var options = WebServerOptions()
        change(&options)
        return AccessRules(options).refusal(of: head)?.status.code ?? 200
    }

    // MARK: - Hosts

    @Test(arguments: [
        ("localhost", 200), ("127.0.0.1:7860", 200), ("[::1]:1", 200), ("evil.example", 421),
        ("192.168.1.5", 421), ("localhost.evil.example", 421), ("a@localhost", 421), ("", 421),
    ])
    func hostsOfOthersAreRefused(host: String, expected: Int) {
        #expect(status(head(host: host)) == expected)
        #expect(status(head(.GET, "/healthz", host: host)) == expected)
    }

    @Test func configuredHostsAreAllowed() throws {
        let host = try #require(Authority("swan.example"))
        #expect(status(head(host: "Swan.Example:443")) { $0.allowedHosts = [host] } == 200)
        #expect(status(head(host: "192.168.1.5:7860")) { $0.host = "192.168.1.5" } == 200)
        #expect(status(head(host: "192.168.1.5:7860")) { $0.host = "0.0.0.0" } == 200)
        #expect(status(head(host: "evil.example")) { $0.host = "0.0.0.0" } == 421)
    }

    /// A server that is reached by its name in the DNS is configured with the origin of its page.
    @Test func namesOfAllowedOriginsAreHosts() throws {
        let origin = try #require(Origin("https://swan.example:7860"))
        let allow = { (options: inout WebServerOptions) in options.allowedOrigins = [origin] }
        let page = [("Origin", "https://swan.example:7860"), ("Sec-Fetch-Site", "same-origin")]
        for host in ["swan.example:7860", "swan.example"] {
            #expect(status(head(host: host), allow) == 200)
            #expect(status(head(.POST, "/", page, host: host), allow) == 200)
        }
        #expect(status(head(host: "evil.example"), allow) == 421)
    }

    @Test func requestsHaveOneHost() {
        let none = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/")
        #expect(status(none) == 400)
        #expect(status(head(.GET, "/", [("Host", "localhost")])) == 400)
    }

    // MARK: - Origins

    @Test(arguments: [
        ("http://localhost:7860", 200), ("https://localhost:7860", 200), ("http://localhost", 403),
        ("http://127.0.0.1:7860", 403), ("https://evil.example", 403), ("null", 403), ("", 403),
    ])
    func pagesOfOthersAreRefused(origin: String, expected: Int) {
        let json = [("Origin", origin), ("Content-Type", "application/json")]
        let socket = [("Origin", origin), ("Connection", "Upgrade"), ("Upgrade", "websocket")]
        #expect(status(head(.POST, "/", json)) == expected)
        #expect(status(head(.DELETE, "/", json)) == expected)
        #expect(status(head(.GET, "/", socket)) == expected)
        #expect(status(head(.GET, "/", json)) == 200)
    }

    @Test func configuredOriginsAreAllowed() throws {
        let origin = try #require(Origin("http://localhost:5173"))
        let headers = [("Origin", "http://localhost:5173"), ("Sec-Fetch-Site", "same-site")]
        #expect(status(head(.POST, "/", headers)) == 403)
        #expect(status(head(.POST, "/", headers)) { $0.allowedOrigins = [origin] } == 200)
    }

    @Test(arguments: [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403)])
    func browsersTellWhereRequestsComeFrom(site: String, expected: Int) {
        #expect(status(head(.POST, "/", [("Sec-Fetch-Site", site)])) == expected)
        #expect(status(head(.GET, "/", [("Sec-Fetch-Site", site)])) == 200)
    }

    @Test(arguments: [
        ("application/json", 200), ("multipart/form-data; boundary=x", 200), ("text/plain", 415),
        ("Text/Plain ; charset=utf-8", 415), ("application/x-www-form-urlencoded", 415),
    ])
    func formsAreRefused(type: String, expected: Int) {
        #expect(status(head(.POST, "/", [("Content-Type", type)])) == expected)
    }

    // MARK: - Tokens

    @Test(arguments: [
        ("Bearer 0123456789abcdef", 200), ("bearer 0123456789abcdef", 200),
        ("Bearer 0123456789abcdeX", 401), ("Bearer ", 401), ("Basic 0123456789abcdef", 401),
        ("0123456789abcdef", 401), ("", 401),
    ])
    func tokensAreRequired(authorization: String, expected: Int) {
        let headers = [("Authorization", authorization)]
        #expect(
            status(head(.GET, "/", headers)) { $0.token = token }
                == expected
        )
    }

    /// Players send nothing but a name and a password, and only after they were asked.
    @Test func playersSendTheTokenAsPassword() throws {
        func allow(_ options: inout WebServerOptions) {
            options.token = token
            options.acceptsPassword = { $0 == "/stream" }
        }
        func credentials(_ text: String) -> [(String, String)] {
            [("Authorization", "Basic " + Data(text.utf8).base64EncodedString())]
        }
        let right = credentials("swan:0123456789abcdef")
        #expect(status(head(.GET, "/stream?x=1", right), allow) == 200)
        #expect(status(head(.GET, "/stream", credentials("swan:wrong")), allow) == 401)
        #expect(status(head(.GET, "/stream", credentials("0123456789abcdef")), allow) == 401)
        #expect(status(head(.GET, "/stream", [("Authorization", "Basic ?")]), allow) == 401)
        #expect(status(head(.GET, "/", right), allow) == 401)

        var options = WebServerOptions()
        allow(&options)
        for (path, scheme) in [("/stream", "Basic realm="), ("/", "Bearer")] {
            let refusal = try #require(AccessRules(options).refusal(of: head(.GET, path)))
            #expect(refusal.headers[.wwwAuthenticate]?.hasPrefix(scheme) == true)
        }
    }

    @Test func onlyOpenPathsNeedNoToken() {
        for (uri, expected) in [
            ("/", 401), ("/?token=0123456789abcdef", 401), ("/healthz", 200), ("/healthz?x", 200),
            ("/healthz/", 401), ("//healthz", 401),
        ] {
            #expect(
                status(head(.GET, uri)) { $0.token = token } == expected
            )
        }
        let two = [("Authorization", "Bearer x"), ("Authorization", "Bearer 0123456789abcdef")]
        #expect(status(head(.GET, "/", two)) { $0.token = token } == 401)
    }

    @Test func browsersOfferTheTokenAsSubprotocol() {
        let offer = [("Sec-WebSocket-Protocol", "swan.v1, swan.token.0123456789abcdef")]
        let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
        #expect(
            status(head(.GET, "/", offer + upgrade)) { $0.token = token }
                == 200
        )
        #expect(
            status(head(.GET, "/", offer)) { $0.token = token } == 401
        )
        #expect(
            status(head(.GET, "/", upgrade)) { $0.token = token } == 401
        )
    }

    // MARK: - Requests

    @Test(arguments: [
        ("/", true), ("/a/b.c?d=/../", true), ("/%C3%A9", true), ("/a..b", true), ("*", false),
        ("", false),
        ("http://localhost/", false), ("/..", false), ("/a/../b", false), ("/%2e%2E/b", false),
        ("/a%2f..%2fb", false), ("/./b", false), ("/a%00", false), ("/a%0a", false),
        ("/a\\b", false),
        ("/a%5Cb", false), ("/%", false), ("/%4", false), ("/%zz", false), ("/%+1", false),
    ])
    func pathsAreUnambiguous(target: String, isValid: Bool) {
        #expect(RequestRules.isValid(target: target) == isValid)
    }

    @Test func lengthsAreLimited() {
        #expect(status(head(.POST, "/", [("Content-Length", "\(2 << 20)")])) == 200)
        #expect(status(head(.POST, "/", [("Content-Length", "\((2 << 20) + 1)")])) == 413)
        let both = [("Content-Length", "1"), ("Transfer-Encoding", "chunked")]
        #expect(status(head(.POST, "/", both)) == 400)
    }
}
