import SwanSystem
import Testing

@testable import SwanHTTP

@Suite struct AccessTokenTests {
    @Test func onlyTheWholeTokenMatches() throws {
        let token = try AccessToken("0123456789abcdef")
        #expect(token.matches("0123456789abcdef"))
        for other in [
            "", "0", "0123456789abcde", "0123456789abcdeg", "0123456789abcdef0123456789abcdef",
        ] {
            #expect(!token.matches(other))
        }
    }

    @Test(arguments: ["", "short", "0123456789abcde f", "0123456789abcde,", "0123456789abcdeé"])
    func tokensFitIntoHeaders(text: String) {
        #expect(throws: SwanError.self) { try AccessToken(text) }
    }

    @Test func descriptionsAreSecret() throws {
        let (token, text) = AccessToken.random()
        #expect(token.matches(text))
        #expect(throws: Never.self) { try AccessToken(text) }
        #expect("\(token)" == "(token)")
    }
}
