import ArgumentParser
import Foundation
import SwanMedia
import SwanSystem

/// Leave to replace outputs.
struct OverwriteOption: ParsableArguments {
    @Flag(
        name: [.customShort("y"), .customLong("overwrite")],
        help: "Replace outputs that exist, without asking; in a script they are refused otherwise."
    )
    var isGiven = false

    /// Looks at what a command reads and writes, before it does any work.
    ///
    /// Throws where an output is an input, or exists and may not be replaced. What killed processes
    /// left beside the outputs goes away.
    ///
    /// - Returns: whether what exists may be replaced.
    func permit(_ files: JobFiles) throws -> Bool {
        try files.check()
        for path in files.removeLeftovers() {
            Terminal.standardError.write(
                kind: .note,
                "\(path): was left by a run that was killed, and is removed"
            )
        }
        let existing = files.existing
        guard let first = existing.first, !isGiven else { return isGiven }
        let others =
            switch existing.count {
            case 1: FileIdentity(first) == nil ? " is a link that leads nowhere" : " exists"
            case 2: " and 1 more output exist"
            default: " and \(existing.count - 1) more outputs exist"
            }
        guard Self.canAsk(files) else {
            throw MediaError(.exists, "\(first)\(others); -y replaces what is there")
        }
        guard Terminal.standardError.ask("\(first)\(others). Overwrite? [y/N] ") else {
            throw MediaError(.exists, "\(first)\(others), and nothing is replaced")
        }
        return true
    }

    /// Whether somebody sits at a terminal, which is not the input.
    private static func canAsk(_ files: JobFiles) -> Bool {
        !files.inputs.contains("-") && isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1
    }
}

extension Terminal {
    /// Asks a question that is answered by a line; yes is `y` or `yes`.
    func ask(_ question: String) -> Bool {
        write(prompt: question)
        let answer = readLine() ?? ""
        return ["y", "yes"].contains(answer.trimmingCharacters(in: .whitespaces).lowercased())
    }
}
