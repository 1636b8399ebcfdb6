import ArgumentParser
import SwanSystem
import SwanTiny

/// `swan data prompts`: writes prompts of drawn scenes.
struct DataPromptsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prompts",
        abstract: "Write prompts of drawn scenes, one a line, to distill 'tiny-t2v' with.",
        discussion: """
            Their combinations of color, shape and direction are those of the training of \
            'configs/tiny-t2v.yaml'; 'swan bench distill' asks for the others.

            EXAMPLES:
              swan data prompts prompts.txt --count 2000
            """
    )

    @Argument(help: "The file for the prompts, which must not exist yet.")
    var file: String

    @Option(parsing: .unconditional, help: "The number of prompts, no two of which are the same.")
    var count = 1_000

    @Option(parsing: .unconditional, help: "The seed of the prompts.")
    var seed: UInt64 = 1

    func run() throws {
        let prompts = try ScenePrompts.forTraining(count, seed: seed)
        let text = prompts.map { $0 + "\n" }.joined()
        try OutputPath.write(text.utf8, to: file, replaces: false)
    }
}
