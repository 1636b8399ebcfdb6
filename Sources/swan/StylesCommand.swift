import ArgumentParser
import Foundation
import SwanCheckpoints
import SwanPipelines
import SwanSystem

/// `swan styles`: lists the styles that a model knows.
struct StylesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "styles",
        abstract: "List the styles that a model knows, and the phrases that select each.",
        discussion: """
            A small model knows a fixed set of styles. A phrase of a style can appear anywhere in a \
            prompt; a prompt without any leaves the video unchanged.
            """
    )

    @Option(
        help: ArgumentHelp(
            "The name of a bundled model, or a model folder.",
            valueName: "name|dir"
        ),
        completion: Completions.model
    )
    var model = BundledModels.names[0]

    @Flag(help: "Print the result as JSON.")
    var json = false

    func run() throws {
        let looks = try KnownStyles.ofModel(model)
        if json {
            return try StandardOutput.write(JSONText.data(Report(model: model, looks: looks)))
        }
        guard let looks else {
            return try StandardOutput.write(
                "\(model): lists no styles; any prompt is passed to the model"
            )
        }
        let width = looks.known.map(\.name.count).max() ?? 0
        for look in looks.known {
            let name = look.name.padding(toLength: width, withPad: " ", startingAt: 0)
            let others = look.phrases.filter { $0 != look.name }
            try StandardOutput.write("\(name)  \(others.joined(separator: ", "))")
        }
    }

    private struct Report: Encodable {
        let model: String
        let looks: KnownStyles?

        private enum CodingKeys: String, CodingKey { case model, looks }

        func encode(to encoder: any Encoder) throws {
            var values = encoder.container(keyedBy: CodingKeys.self)
            try values.encode(model, forKey: .model)
            // Encode nil as `null`.
            try values.encode(looks, forKey: .looks)
        }
    }
}
