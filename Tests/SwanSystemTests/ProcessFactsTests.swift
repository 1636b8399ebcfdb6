import SwanSystem
import Testing

struct ProcessFactsTests {
    @Test func reportsWhenTheProcessStarted() throws {
        let start = try #require(ProcessFacts.start)
        #expect(start <= .now)
        #expect(.now - start < .seconds(86_400))
        #expect(ProcessFacts.peakMemoryBytes > 1_000_000)
    }
}
