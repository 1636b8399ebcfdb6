import Testing

@testable import SwanHTTP

@Suite struct AuthorityTests {
    @Test(
        arguments: [
            ("localhost", "localhost", nil), ("LocalHost:7860", "localhost", 7860),
            ("swan.example.:80", "swan.example", 80), ("127.0.0.1:1", "127.0.0.1", 1),
            ("[::1]", "::1", nil), ("[0:0:0:0:0:0:0:1]:7860", "::1", 7860),
        ] as [(String, String, Int?)]
    )
    func hostsAndPortsAreParsed(text: String, host: String, port: Int?) throws {
        let authority = try #require(Authority(text))
        #expect(authority.host == host)
        #expect(authority.port == port)
    }

    @Test(arguments: [
        "", ":80", "a:b", "a:", "a:70000", "a:+1", "a b", "a/b", "user@a", "::1", "[::1",
        "[localhost]",
        "a:1:2", "a%00", "ä",
    ])
    func othersAreNot(text: String) {
        #expect(Authority(text) == nil)
    }

    @Test(arguments: [
        ("localhost", true), ("swan.localhost", true), ("127.8.9.1", true), ("[::1]", true),
        ("localhost.evil.example", false), ("127.0.0.1.evil.example", false), ("10.0.0.1", false),
        // Not an address in the sense of the Domain Name System, though some programs accept it.
        ("127.1", false), ("2130706433", false),
    ])
    func onlyThisMachineIsLoopback(text: String, isLoopback: Bool) throws {
        #expect(try #require(Authority(text)).isLoopback == isLoopback)
    }

    @Test func originsAreComparedWithDefaultPorts() throws {
        let origin = try #require(Origin("https://Swan.example"))
        #expect(origin == Origin("https://swan.example:443"))
        #expect(origin != Origin("http://swan.example"))
        #expect(origin.isServed(by: try #require(Authority("swan.example"))))
        #expect(!origin.isServed(by: try #require(Authority("swan.example:7860"))))
        #expect(Origin("null") == nil)
        #expect(Origin("http://localhost/path") == nil)
    }
}
