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
            misshapen, NaN or infinite. Exits with 65 if there is any problem.
            """
    )

    @Argument(
        help: "A model folder, or the name of a bundled model.",
        completion: Completions.model
    )
    var model: String

    @Flag(help: "Print the result as JSON.")
    var json = false

    @OptionGroup var logging: LogOptions

    func run() throws {
        let verification = try ModelVerification(model)
        if json {
            try StandardOutput.write(JSONText.data(verification))
        } else {
            try StandardOutput.write(verification.lines.joined(separator: "\n"))
        }
        guard verification.isSound else { throw ExitCode(EX_DATAERR) }
    }
}
