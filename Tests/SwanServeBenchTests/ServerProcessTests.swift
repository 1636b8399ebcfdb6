import Foundation
import GoldenSupport
import Testing

@testable import SwanServeBench

@Suite struct ServerProcessTests {
    @Test func settingsOfTheUserAreLeftOut() {
        let own = ["SWAN_JOBS": "/home/a/jobs", "SWAN_TOKEN": "x", "PATH": "/bin", "ASWAN_": "1"]
        #expect(ChildProcess.environment(own) == ["PATH": "/bin", "ASWAN_": "1"])
    }

    /// The user's jobs are none of a benchmark's business.
    @Test func aServerHasNoJobs() throws {
        let folder = try TemporaryDirectory()
        let program = folder.path("swan")
        let script = """
            #!/bin/sh
            echo "$@" > "$0.arguments"
            echo "open http://127.0.0.1:4242 now" >&2
            exec sleep 60
            """
        try Data(script.utf8).write(to: URL(fileURLWithPath: program))
        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: program)
        let server = try ServerProcess(program, ["--model", "tiny"])
        defer { server.stop() }
        #expect(server.port == 4_242)
        let arguments = try String(contentsOfFile: program + ".arguments", encoding: .utf8)
        #expect(arguments == "serve --port 0 --jobs none --model tiny\n")
    }
}
