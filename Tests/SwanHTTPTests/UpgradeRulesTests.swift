import HTTPTypes
import NIOHTTP1
import Testing

@testable import SwanHTTP

@Suite struct UpgradeRulesTests {
    private func head(_ changes: [String: String?] = [:], method: HTTPMethod = .GET)
        -> HTTPRequestHead
    {
        var fields: [String: String] = [
            "Connection": "keep-alive, Upgrade", "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        ]
        for (name, value) in changes { fields[name] = value }
        return HTTPRequestHead(
            version: .http1_1,
            method: method,
            uri: "/",
            headers: HTTPHeaders(fields.map { ($0.key, $0.value) })
        )
    }

    private func status(_ head: HTTPRequestHead, isFirst: Bool = true) -> Int {
        UpgradeRules.refusal(of: head, isFirst: isFirst)?.status.code ?? 101
    }

    @Test func validHandshakesPass() {
        #expect(head().isWebSocketUpgrade)
        #expect(status(head()) == 101)
        #expect(status(head(["Content-Length": "0"])) == 101)
    }

    @Test(
        arguments: [
            ["Sec-WebSocket-Key": ""], ["Sec-WebSocket-Key": "dGhlIHNhbXBsZQ=="],
            ["Sec-WebSocket-Key": "not Base64, I am afraid!"], ["Sec-WebSocket-Key": nil],
            ["Connection": "close"], ["Content-Length": "5"], ["Transfer-Encoding": "chunked"],
        ] as [[String: String?]]
    )
    func invalidHandshakesAreRefused(changes: [String: String?]) {
        #expect(status(head(changes)) == 400)
    }

    @Test func otherVersionsAndLaterRequestsNeedAnUpgrade() {
        #expect(status(head(["Sec-WebSocket-Version": "8"])) == 426)
        #expect(status(head(["Sec-WebSocket-Version": nil])) == 426)
        #expect(status(head(), isFirst: false) == 426)
        #expect(status(head(method: .POST)) == 400)
    }

    @Test func subprotocolsAreListed() {
        #expect(head(["Sec-WebSocket-Protocol": "a, b"]).subprotocols == ["a", "b"])
    }
}
