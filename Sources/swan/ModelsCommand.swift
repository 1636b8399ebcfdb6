import ArgumentParser
import Foundation
import SwanCheckpoints
import SwanPipelines
import SwanSystem

/// `swan models`: lists, inspects, verifies and converts models.
struct ModelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models",
        abstract: "List the bundled models; inspect, verify or convert a model.",
        subcommands: [List.self, Inspect.self, VerifyCommand.self, ConvertCommand.self],
        defaultSubcommand: List.self
    )

    /// `swan models list`: lists the bundled models.
    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the bundled models."
        )

        @Flag(help: "Print the result as JSON.")
        var json = false

        func run() throws {
            let models = try BundledModels.names.map { name in
                let path = BundledModels.folder(name)
                let looks = try path.flatMap { try KnownStyles.ofModel($0) }
                return BundledModel(name: name, path: path, looks: looks?.known.map(\.name))
            }
            if json {
                try StandardOutput.write(JSONText.data(models))
            } else {
                for model in models {
                    let path = model.path ?? "not installed: run 'make setup'"
                    let looks = model.looks.map { "\t" + $0.joined(separator: ", ") } ?? ""
                    try StandardOutput.write("\(model.name)\t\(path)\(looks)")
                }
            }
        }

        private struct BundledModel: Encodable {
            let name: String
            let path: String?
            /// The names of the styles that it knows, if it lists them.
            let looks: [String]?
        }
    }

    /// `swan models inspect`: shows what a model folder contains.
    struct Inspect: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Show what a model folder contains: parts, sizes, dtypes and what is missing.",
            discussion: "Exits with 65 if the model is incomplete."
        )

        @Argument(
            help: "A model folder, or the name of a bundled model.",
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
