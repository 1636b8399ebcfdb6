import ArgumentParser
import Foundation
import SwanMedia
import SwanSystem

/// Permission to replace existing outputs.
struct OverwriteOption: ParsableArguments {
    @Flag(
        name: [.customShort("y"), .customLong("overwrite")],
        help:
            "Overwrite existing outputs without asking; without a terminal they are otherwise an error."
    )
    var isGiven = false

    /// Checks the files that a command reads and writes, before it does any work.
    ///
    /// Throws if an output is an input, or exists and may not be replaced. Removes partial files
    /// that killed processes left in the output folders.
    ///
    /// - Returns: Whether existing outputs may be replaced.
    func permit(_ files: JobFiles) throws -> Bool {
        try files.check()
        if let log = Terminal.standardError.logPath, let identity = FileIdentity(log),
            (files.inputs + files.outputs.map(\.path)).contains(where: {
                FileIdentity($0) == identity
            })
        {
            throw SwanError(.isInput, "\(log): is the log file and another file of this job")
        }
        // Rank 0 writes the files and asks.
        guard Ranks.quietRank == nil else { return false }
        for path in files.removeLeftovers() {
            Terminal.standardError.write(
                kind: .note,
                "\(path): removed; it was left by a killed process"
            )
        }
        let existing = files.existing
        guard let first = existing.first, !isGiven else { return isGiven }
        let others =
            switch existing.count {
            case 1: FileIdentity(first) == nil ? " is a broken link" : " exists"
            case 2: " and 1 more output exist"
            default: " and \(existing.count - 1) more outputs exist"
            }
        guard Self.canAsk(files) else {
            throw SwanError(.exists, "\(first)\(others); use -y to overwrite")
        }
        guard Terminal.standardError.ask("\(first)\(others). Overwrite? [y/N] ") else {
            throw SwanError(.exists, "\(first)\(others); not overwritten")
        }
        return true
    }

    /// Whether there is a terminal to ask on that is not also the input.
    private static func canAsk(_ files: JobFiles) -> Bool {
        !files.inputs.contains("-") && isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1
    }
}

extension Terminal {
    /// Asks a question and reads a line; `y` and `yes` mean yes.
    func ask(_ question: String) -> Bool {
        write(prompt: question)
        let answer = readLine() ?? ""
        return ["y", "yes"].contains(answer.trimmingCharacters(in: .whitespaces).lowercased())
    }
}
