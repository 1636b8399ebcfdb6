import Foundation
import GoldenSupport
import Testing

/// Prompts from people and programs.
@Suite struct PromptTests {
    private let folder: TemporaryDirectory
    private let fixture: Fixture

    init() throws {
        folder = try TemporaryDirectory()
        fixture = try Fixture.shared.get()
    }

    @Test func truncatesLongPromptsWithAWarning() throws {
        let outcome = try stream(String(repeating: "a very long prompt ", count: 5_264))
        #expect(outcome.code == 0, "\(outcome.messages)")
        #expect(outcome.messages.contains("swan: warning: the prompt has "))
        #expect(outcome.messages.contains("truncated to 24"))
    }

    @Test(arguments: ["🦢🎨", "一只天鹅，水墨画", "-o dash", "a\u{0}b"])
    func acceptsAnyText(_ prompt: String) throws {
        let outcome = try stream(prompt.replacingOccurrences(of: "\0", with: " "))
        #expect(outcome.code == 0, "\(outcome.messages)")
    }

    @Test func warnsOfUnknownLooks() throws {
        let output = folder.path("out.mp4")
        let outcome = try Program(
            ["stream", fixture.clip, "--max-frames", "9", "-o", output, "--progress", "none"]
                + ["--width", "64", "--height", "64"]
                + ["--prompt", "Van Gogh", "--prompt-at", "5=sepia", "--prompt-at", "6=neno"]
        ).end()
        #expect(outcome.code == 0, "\(outcome.messages)")
        let warnings = outcome.messages.split(separator: "\n").filter { $0.contains("warning") }
        #expect(warnings.count == 2, "\(outcome.messages)")
        #expect(warnings[0].contains("\"Van Gogh\" matches no style that this model knows"))
        #expect(
            warnings[0].hasSuffix(
                "known styles: pencil sketch, neon edges, thermal camera, "
                    + "at night, sepia, comic, pixel art, autumn"
            )
        )
        #expect(warnings[1].contains("did you mean \"neon\"?"))
        #expect(try Fixture.count(output) == 9)
    }

    @Test func warnsOfInvalidUTF8() throws {
        // A shell can pass bytes that a Swift string cannot represent.
        let shell = Process()
        shell.executableURL = URL(fileURLWithPath: "/bin/sh")
        let program = Program.url.path
        shell.arguments = [
            "-c",
            "exec '\(program)' stream '\(fixture.clip)' --model '\(fixture.model)' --progress none "
                + "--prompt \"$(printf 'a \\377\\376 cat')\" -o '\(folder.path("out.mp4"))'",
        ]
        let messages = Pipe()
        shell.standardError = messages
        try shell.run()
        let text = String(
            decoding: messages.fileHandleForReading.readDataToEndOfFile(),
            as: UTF8.self
        )
        shell.waitUntilExit()
        #expect(shell.terminationStatus == 0, "\(text)")
        #expect(text.contains("not valid UTF-8"))
    }

    private func stream(_ prompt: String) throws -> Program.Outcome {
        try Program.run(
            "stream",
            fixture.clip,
            "--model",
            fixture.model,
            "--max-frames",
            "5",
            "--prompt",
            prompt,
            "-o",
            folder.path("out.mp4"),
            "--progress",
            "none"
        )
    }
}
