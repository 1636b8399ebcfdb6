import Testing

@testable import swan

@Suite struct RankOptionsTests {
    @Test func canonicalForm() {
        let options = Ranks.options([
            "stream", "in.mp4", "--prompt", "at night", "--seed=3", "-y", "--noise-scale", "-1",
            "--prompt-at", "5=neon", "--prompt-at", "9=sepia", "--device", "cuda:1", "-o",
            "a=b.mp4",
        ])
        #expect(
            options == [
                "arguments": "stream in.mp4", "--prompt": "at night", "--seed": "3", "-y": "given",
                "--noise-scale": "-1", "--prompt-at": "5=neon 9=sepia", "-o": "a=b.mp4",
            ]
        )
    }
}
