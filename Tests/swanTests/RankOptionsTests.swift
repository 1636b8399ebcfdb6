import Testing

@testable import swan

@Suite struct RankOptionsTests {
    /// Short names are those of the long ones, so that ranks may be started with either.
    @Test func canonicalForm() {
        let options = Ranks.options([
            "stream", "in.mp4", "--prompt", "at night", "--seed=3", "-y", "--noise-scale", "-1",
            "--prompt-at", "5=neon", "--prompt-at", "9=sepia", "--device", "cuda:1", "-o",
            "a=b.mp4",
        ])
        #expect(
            options == [
                "what follows the command": "stream in.mp4", "--prompt": "at night", "--seed": "3",
                "--overwrite": "given",
                "--noise-scale": "-1", "--prompt-at": "5=neon 9=sepia",
                "--output": "a=b.mp4",
            ]
        )
    }
}
