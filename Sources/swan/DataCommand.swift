import ArgumentParser
import Foundation
import SwanDatasets
import SwanSystem
import Synchronization

/// `swan data`: makes and checks the datasets that distillation trains on.
struct DataCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "data",
        abstract: "Make, pack and inspect datasets of latents for distillation.",
        subcommands: [
            DataPromptsCommand.self, DataPairsCommand.self, DataLatentsCommand.self, Pack.self,
            Inspect.self,
        ]
    )

    /// `swan data pack`: collects `.pt` files in a database.
    struct Pack: LoggedCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Collect the .pt files of a folder, {prompt: latents} each, in one LMDB database.",
            discussion: """
                The database has the layout that CausVid and StreamDiffusionV2 train on. Of files with the \
                same prompt the first in the order of names is kept.

                EXAMPLES:
                  swan data pack pairs/ pairs.lmdb
                """
        )

        @Argument(help: "The folder with the .pt files.")
        var folder: String

        @Argument(help: "The database, a folder that must not exist yet.")
        var output: String

        @Flag(help: "Print the result as JSON.")
        var json = false

        @OptionGroup var logging: LogOptions

        func run() throws {
            let packing = LatentPacking(folder)
            let isStopped = Mutex(false)
            let messages = StopSignals.Messages(
                stopping: "stopping; nothing is written",
                abandoned: "stopped; nothing was written"
            )
            let signals = try StopSignals(
                messages,
                stop: {
                    isStopped.withLock {
                        $0 = true; return true
                    }
                },
                abandon: { packing.abandon() }
            )
            do {
                let result = try packing.write(to: output, isStopped: { isStopped.withLock { $0 } })
                if json { return try StandardOutput.write(JSONText.data(result)) }
                let left =
                    result.repeated > 0 ? ", \(result.repeated) repeated prompts left out" : ""
                try StandardOutput.write("\(output): \(result.rows) rows\(left)")
            } catch {
                if let code = signals.exitCode { throw ExitCode(code) }
                throw error
            }
        }
    }

    /// `swan data inspect`: reads all rows of a database.
    struct Inspect: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Read all rows of a database and show their shape, statistics and faults.",
            discussion: "Exits with 65 if a row is damaged."
        )

        @Argument(help: "The database: a folder with data.mdb.")
        var database: String

        @Flag(help: "Print the result as JSON.")
        var json = false

        func run() throws {
            let inspection = try LatentInspection(database)
            if json {
                try StandardOutput.write(JSONText.data(inspection))
            } else {
                try StandardOutput.write(inspection.lines.joined(separator: "\n"))
            }
            guard inspection.faults.isEmpty else { throw ExitCode(EX_DATAERR) }
        }
    }
}
