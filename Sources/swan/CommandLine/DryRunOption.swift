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
        if json == "-" || progress == .json {
            return try StandardOutput.write(JSONText.data(outline))
        }
        try StandardOutput.write("nothing is written (--dry-run); this would be done:")
        try StandardOutput.write(outline.lines.map { "  " + $0 }.joined(separator: "\n"))
    }
}
