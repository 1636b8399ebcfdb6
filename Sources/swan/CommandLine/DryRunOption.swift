import ArgumentParser
import Foundation
import SwanCheckpoints
import SwanMedia
import SwanSystem

/// What a job would do, instead of doing it.
struct DryRunOption: ParsableArguments {
    @Flag(
        name: .customLong("dry-run"),
        help: """
            Print what would be done and exit: nothing is written. With '--json -' or '--progress json', as JSON.
            """
    )
    var isGiven = false

    /// Throws what would keep a job from writing its outputs. Asks nothing and removes nothing.
    func permit(_ files: JobFiles, overwrites: Bool) throws {
        try files.check()
        guard let first = files.existing.first, !overwrites else { return }
        throw SwanError(.exists, "\(first) exists; use -y to overwrite")
    }

    /// Prints an outline.
    func show(_ outline: JobOutline, json: String?, _ progress: ProgressStyle) throws {
        try show([outline], json: json, progress)
    }

    /// Prints the outlines of several jobs; as JSON, a list of them unless there is one.
    func show(_ outlines: [JobOutline], json: String?, _ progress: ProgressStyle) throws {
        if json == "-" || progress == .json {
            let data =
                outlines.count == 1 ? try JSONText.data(outlines[0]) : try JSONText.data(outlines)
            return try StandardOutput.write(data)
        }
        try StandardOutput.write("nothing is written (--dry-run); this would be done:")
        let texts = outlines.map { $0.lines.map { "  " + $0 }.joined(separator: "\n") }
        try StandardOutput.write(texts.joined(separator: "\n\n"))
    }
}
