import Foundation
import GoldenSupport
import Testing

@testable import swan

/// Completion scripts, and what they ask the program for.
@Suite struct CompletionTests {
    @Test(arguments: [("bash", "complete "), ("zsh", "#compdef swan"), ("fish", "complete -c ")])
    func scriptsAreForTheirShell(_ shell: String, _ sign: String) throws {
        let outcome = try Program.run("completions", shell)
        #expect(outcome.code == 0)
        #expect(outcome.text.contains(sign))
        #expect(outcome.text.contains("max-frames"))
    }

    @Test func bashCompletesCommandsOptionsModelsAndStyles() throws {
        let folder = try TemporaryDirectory()
        let script = try folder.file(
            "swan.bash",
            text: try Program.run("completions", "bash").text
        )
        try FileManager.default.createSymbolicLink(
            atPath: folder.path("swan"),
            withDestinationPath: Program.url.path
        )
        func complete(_ words: String...) throws -> [String] {
            let list = (["swan"] + words).map { "'\($0)'" }.joined(separator: " ")
            let line = (["swan"] + words).joined(separator: " ")
            let text = """
                export PATH=\(folder.url.path):$PATH; source \(script); complete -p swan >&2
                COMP_WORDS=(\(list)); COMP_CWORD=\(words.count); COMP_LINE='\(line)'
                COMP_POINT=\(line.count); COMPREPLY=()
                function="$(complete -p swan | sed 's/.*-F \\([^ ]*\\).*/\\1/')"
                "$function" swan "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
                printf '%s\\n' "${COMPREPLY[@]}"
                """
            let bash = Process()
            bash.executableURL = URL(fileURLWithPath: "/bin/bash")
            bash.arguments = ["--norc", "-c", text]
            let pipe = Pipe()
            bash.standardOutput = pipe
            bash.standardError = FileHandle.nullDevice
            try bash.run()
            let data = pipe.fileHandleForReading.readDataToEndOfFile()
            bash.waitUntilExit()
            return String(decoding: data, as: UTF8.self).split(separator: "\n")
                .map { $0.trimmingCharacters(in: .whitespaces) }
        }
        #expect(try complete("str").contains("stream"))
        #expect(try complete("stream", "--max").contains("--max-frames"))
        #expect(try complete("stream", "--fit", "").contains("pad"))
        #expect(try complete("stream", "--model", "ti").contains("tiny"))
        #expect(try complete("stream", "--prompt", "se").contains("sepia"))
    }
}
