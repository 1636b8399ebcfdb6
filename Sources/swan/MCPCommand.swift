import ArgumentParser
import Foundation
import Logging
import SwanPipelines
import SwanServer
import SwanSystem
import Synchronization
import Torch

/// `swan mcp`: lets agents restyle video files.
struct MCPCommand: ParsableCommand, LoggedCommand {
    static let configuration = CommandConfiguration(
        commandName: "mcp",
        abstract: "Let agents restyle video, by the Model Context Protocol.",
        discussion: """
            An agent's program starts this command and talks to it over its standard input and output. The \
            agent can play video files and pictures, change the prompt and the parameters, and look at the \
            restyled frames.

            EXAMPLES:
              swan mcp
              swan mcp --root ~/Videos --model DIR --device cuda
            """
    )

    @OptionGroup var loading: StreamingModelOptions

    @Option(help: ArgumentHelp("Allow agents to read files in this folder only.", valueName: "dir"))
    var root = "."

    @Option(
        name: .customLong("max-sessions"),
        parsing: .unconditional,
        help: "The maximum number of streams at once."
    )
    var maxSessions = 4

    @Flag(help: "Admit streams although the others then miss their rate.")
    var overcommit = false

    @OptionGroup var logging: LogOptions

    func validate() throws {
        guard (1...1_024).contains(maxSessions) else {
            throw ValidationError("--max-sessions must be 1 to 1024, not \(maxSessions)")
        }
    }

    func run() throws {
        let done = DispatchSemaphore(value: 0)
        let outcome = Mutex<Result<Void, SwanError>>(.success(()))
        _ = try StopSignals(
            .init(stopping: "stopping (repeat to stop at once)", abandoned: "stopped"),
            stop: {
                done.signal()
                return true
            },
            abandon: {}
        )
        Engine.sleepWhileWaiting()
        let checkpoint = try loading.checkpoint()
        let server = try AgentServer(
            load: { [loading] in
                let model = try loading.load(checkpoint)
                for note in model.loraNotes { Logger(label: "swan.mcp").warning("\(note)") }
                return model
            },
            maxSessions: maxSessions,
            overcommits: overcommit,
            root: root,
            version: SwanVersion.text,
            output: try Self.protocolOutput(),
            log: Logger(label: "swan.mcp")
        )
        try startThread("swan.requests", stackBytes: 8 << 20) {
            do throws(SwanError) {
                try server.serve(STDIN_FILENO)
            } catch {
                outcome.withLock { $0 = .failure(error) }
            }
            done.signal()
        }
        done.wait()
        let isClosed = server.close()
        try outcome.withLock { $0 }.get()
        // A thread that loads a model must not meet the end of the libraries that it uses.
        if !isClosed { _exit(0) }
    }

    /// A descriptor for standard output; what else is written to it goes to standard error.
    private static func protocolOutput() throws(SwanError) -> Int32 {
        let output = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
        guard output >= 0, dup2(STDERR_FILENO, STDOUT_FILENO) >= 0 else {
            throw SwanError(.io, "standard output: \(SwanError.reason(errno))")
        }
        return output
    }
}
