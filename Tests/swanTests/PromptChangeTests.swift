import Testing

@testable import swan

/// Where a later prompt starts.
@Suite struct PromptChangeTests {
    @Test(arguments: [
        ("0", PromptChange.Position.frame(0)), ("120", .frame(120)), ("2s", .seconds(2)),
        ("2.5s", .seconds(2.5)), ("500ms", .seconds(0.5)), ("1m30s", .seconds(90)),
        ("2m", .seconds(120)), ("1h2m3s", .seconds(3_723)), ("00:01:30", .seconds(90)),
        ("1:30", .seconds(90)), ("0:00:01.25", .seconds(1.25)),
    ])
    func readsFramesAndTimes(_ text: String, _ position: PromptChange.Position) throws {
        let change = try #require(PromptChange(argument: text + "=neon = bright"))
        #expect(change.position == position)
        #expect(change.text == "neon = bright")
    }

    @Test(arguments: [
        "", "-1", "-2s", "s", "2x", "1:60", "1:99:00", "2.5", "s2", "nan", "1:2:3:4", "1e3s", " 2s",
    ])
    func refusesOthers(_ text: String) {
        #expect(PromptChange(argument: text + "=neon") == nil)
    }

    @Test func needsAText() {
        #expect(PromptChange(argument: "2s") == nil)
    }
}
