import ArgumentParser
import Foundation
import SwanCheckpoints
import SwanPipelines
import SwanSystem

/// `swan models`: lists, inspects, verifies and converts models.
struct ModelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models",
        abstract: "List and download models; inspect, verify or convert one.",
        subcommands: [
            ModelsListCommand.self, PullCommand.self, RemoveCommand.self, Inspect.self,
            VerifyCommand.self, ConvertCommand.self,
        ],
        defaultSubcommand: ModelsListCommand.self
    )

    /// `swan models inspect`: shows what a model folder contains.
    struct Inspect: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Show what a model folder contains: parts, sizes, dtypes and what is missing.",
            discussion: "Exits with 65 if the model is incomplete."
        )

        @Argument(
            help: "A model folder, or the name of a bundled or pulled model.",
            completion: Completions.model
        )
        var model: String

        @Flag(help: "Print the result as JSON.")
        var json = false

        func run() throws {
            let inspection = try ModelInspection(model)
            if json {
                try StandardOutput.write(JSONText.data(inspection))
            } else {
                try StandardOutput.write(inspection.lines.joined(separator: "\n"))
            }
            guard inspection.missing.isEmpty else { throw ExitCode(EX_DATAERR) }
        }
    }
}
