import ArgumentParser
import Foundation
import Logging
import Torch

/// The `swan` command. Each subcommand has its own file; the libraries do the work.
@main
struct Swan: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "swan",
        abstract: "Restyle live video from a text prompt, and generate video from text and images.",
        discussion: """
            EXAMPLES:
              swan stream in.mp4 --prompt "pencil sketch" -o out.mp4
              swan stream in.mp4 --prompt "at night" --max-frames 100 -o night.mp4
              swan models inspect tiny
              swan doctor

            Results go to the output or to standard output, and everything else to standard error.

            EXIT CODES:
              64  invalid usage              70   internal error
              65  invalid input or model     73   output cannot be created
              66  input not found            74   input/output error
              69  device or model not found  75   another rank failed
              78  ranks differ               130  Ctrl-C (143: SIGTERM, 129: SIGHUP)
            """,
        version: SwanVersion.text,
        subcommands: [
            StreamCommand.self, GenerateCommand.self, ModelsCommand.self, StylesCommand.self,
            TrainCommand.self, DataCommand.self, ServeCommand.self, MCPCommand.self,
            LaunchCommand.self, BenchCommand.self,
            DoctorCommand.self, CompletionsCommand.self, DecodeWorkerCommand.self,
        ]
    )

    @Flag(name: .customShort("V"), help: "Show the version.")
    var showsVersion = false

    func run() throws {
        if showsVersion { throw CleanExit.message(SwanVersion.text) }
        throw CleanExit.helpRequest(self)
    }

    static func main() {
        keepStandardFilesOpen()
        // Report a closed pipe as a write error, which has its own exit code.
        signal(SIGPIPE, SIG_IGN)
        // The same for a file that exceeds the size limit (ulimit -f).
        signal(SIGXFSZ, SIG_IGN)
        Engine.fitLimits()
        do {
            let arguments = Array(CommandLine.arguments.dropFirst())
            var command = try parseAsRoot(CommandLineArguments.completed(arguments))
            if let command = command as? any RankedCommand {
                Terminal.standardError.use(command.messageFormat)
            }
            if let command = command as? any LoggedCommand { try command.startLogging() }
            CommandSettings.warnOfVariables(arguments)
            try Ranks.check(command)
            try command.run()
            Terminal.standardError.record("ended with exit code 0")
        } catch {
            ExitStatus.terminate(with: error)
        }
    }
}

/// Opens closed standard descriptors (`2>&-`), so that no file opened later gets their number and
/// receives messages.
private func keepStandardFilesOpen() {
    for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) < 0 {
        // Read-only, so that writing still fails. The lowest free descriptor is this one.
        _ = open("/dev/null", O_RDONLY)
    }
}

/// The version of this program.
enum SwanVersion {
    static let text = "0.1.0"
}
