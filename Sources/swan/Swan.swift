import ArgumentParser
import Foundation
import Logging
import Torch

/// `swan`: the command line. Each command has a file of its own; what they do is in the libraries.
@main
struct Swan: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "swan",
        abstract: "Restyle video by a prompt, chunk by chunk, as it arrives.",
        discussion: """
            EXAMPLES:
              swan stream in.mp4 --prompt "pencil sketch" -o out.mp4
              swan stream in.mp4 --prompt "at night" --max-frames 100 -o night.mp4
              swan models inspect tiny
              swan doctor

            Results go to the output or to standard output, everything else to standard error.

            EXIT CODES:
              64  usage                      70  internal error
              65  bad input or model data    73  the output cannot be created
              66  no such input              74  input or output failed
              69  device or model not there  130  stopped by Ctrl-C (SIGTERM 143, SIGHUP 129)
            """,
        version: SwanVersion.text,
        subcommands: [
            StreamCommand.self, GenerateCommand.self, ModelsCommand.self, StylesCommand.self,
            TrainCommand.self,
            BenchCommand.self,
            DoctorCommand.self,
        ]
    )

    static func main() {
        keepStandardFilesOpen()
        // A reader that goes away is told as an error of the write, with its own exit code.
        signal(SIGPIPE, SIG_IGN)
        // A file that may not be as long as that (ulimit -f), too.
        signal(SIGXFSZ, SIG_IGN)
        Engine.fitLimits()
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch {
            Leave.with(error)
        }
    }
}

/// Has no file that is opened later take the place of a standard one that is closed (`2>&-`), where
/// messages would be written into it.
private func keepStandardFilesOpen() {
    for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) < 0 {
        // For reading alone: what is written fails, as it would have. The lowest number is taken.
        _ = open("/dev/null", O_RDONLY)
    }
}

/// This program's version.
enum SwanVersion {
    static let text = "0.1.0"
}
