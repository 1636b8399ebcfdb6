import Foundation
import GoldenSupport
import Testing

/// Damaged and hostile files of every kind, from the harness in Tests/fuzz.
@Suite struct MutationTests {
    private static let harness = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("fuzz/mutate.py").path

    private func run(_ program: String, _ arguments: [String]) throws -> (Int32, String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: text, as: UTF8.self))
    }

    @Test func fiveHundredCasesFindNoBug() throws {
        let folder = try TemporaryDirectory()
        let seeds = folder.path("seeds")
        let writer = Program.url.deletingLastPathComponent().appendingPathComponent("fuzz-seeds")
        let written = try run(writer.path, [seeds])
        #expect(written.0 == 0, "\(written.1)")
        let outcome = try run(
            "/usr/bin/env",
            [
                "python3", Self.harness, "--swan", Program.url.path, "--seeds", seeds, "--cases",
                "500", "--seed", "test",
            ]
        )
        #expect(outcome.0 == 0, "\(outcome.1)")
    }
}
