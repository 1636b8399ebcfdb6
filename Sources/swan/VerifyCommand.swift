import ArgumentParser
import Foundation
import SwanCheckpoints
import SwanPipelines
import SwanSystem

/// `swan models verify`: reads and checks a whole model.
struct VerifyCommand: ParsableCommand, LoggedCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Read a whole model and check its files, configuration and weights.",
        discussion: """
            Prints the SHA-256 and size of every file, and each key that is missing, unexpected, \
            misshapen, NaN or infinite. The files of a pulled model are compared with what was \
            downloaded. Exits with 65 if there is any problem.
            """
    )

    @Argument(
        help: "A model folder, or the name of a bundled or pulled model.",
        completion: Completions.model
    )
    var model: String

    @Flag(help: "Print the result as JSON.")
    var json = false

    @OptionGroup var logging: LogOptions

    func run() throws {
        if let pulled = try PulledVerification(model) {
            return try show(pulled, pulled.lines, isSound: pulled.isSound)
        }
        let verification = try ModelVerification(model)
        try show(verification, verification.lines, isSound: verification.isSound)
    }

    private func show(_ result: some Encodable, _ lines: [String], isSound: Bool) throws {
        if json {
            try StandardOutput.write(JSONText.data(result))
        } else {
            try StandardOutput.write(lines.joined(separator: "\n"))
        }
        guard isSound else { throw ExitCode(EX_DATAERR) }
    }
}
