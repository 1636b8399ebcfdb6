import SwanCheckpoints
import Testing

/// Names that are near a misspelled one.
@Suite struct NearestNameTests {
    private let options = [
        "--prompt", "--negative-prompt", "--output", "--max-frames", "--fps", "--noise-scale",
    ]

    @Test(arguments: [
        ("--promt", "--prompt"), ("--Prompt", "--prompt"), ("--outptu", "--output"),
        ("--max_frames", "--max-frames"), ("--maxframes", "--max-frames"), ("--fsp", "--fps"),
        ("--negative", "--negative-prompt"), ("--noise", "--noise-scale"),
        ("--frames", "--max-frames"),
    ])
    func findsWhatWasMeant(_ said: String, _ meant: String) {
        #expect(nearestName(to: said, in: options) == meant)
    }

    @Test(arguments: ["--quantization", "", "--", "-", "--x", String(repeating: "a", count: 100)])
    func findsNothingThatIsFar(_ said: String) {
        #expect(nearestName(to: said, in: options) == nil)
        #expect(suggestion(for: said, in: options).isEmpty)
    }

    @Test func partsOfNamesCount() {
        #expect(nearestName(to: "swan-tinny", in: ["tiny"]) == "tiny")
        #expect(nearestName(to: "tyny", in: ["tiny"]) == "tiny")
        #expect(nearestName(to: "huge", in: ["tiny"]) == nil)
        #expect(suggestion(for: "sede", in: ["seed"]) == "; did you mean 'seed'?")
    }
}
