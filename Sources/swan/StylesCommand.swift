import ArgumentParser
import Foundation
import SwanCheckpoints
import SwanPipelines
import SwanSystem

/// `swan styles`: what prompts a model knows.
struct StylesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "styles",
        abstract: "List the looks that a model knows, and what asks for each.",
        discussion: """
            A small model knows the looks that it was taught. A phrase of one may stand anywhere in a \
            prompt; a prompt without any leaves the video as it is.
            """
    )

    @Option(help: ArgumentHelp("A bundled model's name, or a folder.", valueName: "name|dir"))
    var model = BundledModels.names[0]

    @Flag(help: "As JSON.")
    var json = false

    func run() throws {
        let looks = try KnownLooks.ofModel(model)
        if json {
            return try StandardOutput.write(JSONText.data(Report(model: model, looks: looks)))
        }
        guard let looks else {
            return try StandardOutput.write("\(model) lists no looks: any prompt goes to the model")
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
        let looks: KnownLooks?

        private enum CodingKeys: String, CodingKey { case model, looks }

        func encode(to encoder: any Encoder) throws {
            var values = encoder.container(keyedBy: CodingKeys.self)
            try values.encode(model, forKey: .model)
            // `null` where there are none.
            try values.encode(looks, forKey: .looks)
        }
    }
}
