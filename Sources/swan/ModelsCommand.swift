import ArgumentParser
import Foundation
import SwanCheckpoints
import SwanPipelines
import SwanSystem

/// `swan models`: which models there are, and what one is.
struct ModelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models",
        abstract: "List the bundled models; look into a model, verify it, convert its weights.",
        subcommands: [List.self, Inspect.self, VerifyCommand.self, ConvertCommand.self],
        defaultSubcommand: List.self
    )

    /// `swan models list`
    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the models that come with Swan."
        )

        @Flag(help: "As JSON.")
        var json = false

        func run() throws {
            let models = try BundledModels.names.map { name in
                let path = BundledModels.folder(name)
                let looks = try path.flatMap { try KnownLooks.ofModel($0) }
                return BundledModel(name: name, path: path, looks: looks?.known.map(\.name))
            }
            if json {
                try StandardOutput.write(JSONText.data(models))
            } else {
                for model in models {
                    let place = model.path ?? "not installed: run 'make setup'"
                    let looks = model.looks.map { "\t" + $0.joined(separator: ", ") } ?? ""
                    try StandardOutput.write("\(model.name)\t\(place)\(looks)")
                }
            }
        }

        private struct BundledModel: Encodable {
            let name: String
            let path: String?
            /// The looks that it knows, if it says so.
            let looks: [String]?
        }
    }

    /// `swan models inspect`
    struct Inspect: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say what is in a model's folder: parts, sizes, dtypes, what is missing.",
            discussion: "Exits with 65 if the model is not complete."
        )

        @Argument(help: "A folder, or a bundled model's name.")
        var model: String

        @Flag(help: "As JSON.")
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
