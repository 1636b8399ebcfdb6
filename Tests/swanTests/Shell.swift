import Foundation

/// The built program in a shell, to test what a process inherits: limits, closed descriptors,
/// terminals.
enum Shell {
    /// Runs a script in which `swan` is the program.
    ///
    /// - Parameter terminal: whether to run on a separate terminal, whose text is then the output.
    static func run(
        _ script: String,
        in folder: String,
        input: String = "",
        terminal: Bool = false
    ) throws -> Program.Outcome {
        let process = Process()
        let (output, messages, standardInput) = (Pipe(), Pipe(), Pipe())
        let whole = "swan() { '\(Program.url.path)' \"$@\"; }; \(script)"
        process.executableURL = URL(fileURLWithPath: terminal ? "/usr/bin/script" : "/bin/sh")
        process.arguments = terminal ? ["-qefc", whole, "/dev/null"] : ["-c", whole]
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        var environment = ProcessInfo.processInfo.environment
        environment["OMP_NUM_THREADS"] = "1"
        environment["SHELL"] = "/bin/sh"
        process.environment = environment
        process.standardInput = standardInput
        process.standardOutput = output
        process.standardError = messages
        try process.run()
        try standardInput.fileHandleForWriting.write(contentsOf: Data(input.utf8))
        try standardInput.fileHandleForWriting.close()
        // Messages are short enough for the pipe's buffer.
        let text = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        let words = messages.fileHandleForReading.readDataToEndOfFile()
        let status = process.terminationStatus
        return Program.Outcome(
            code: process.terminationReason == .exit ? status : 128 + status,
            output: text,
            messages: String(decoding: words, as: UTF8.self)
        )
    }
}
