import ArgumentParser
import Foundation
import SwanCheckpoints
import SwanPipelines
import SwanSystem

/// `swan models verify`
struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Read all of a model: does it open, fit, and hold nothing but numbers?",
        discussion: """
            Prints the SHA-256 and the bytes of every file, and each key that is missing, left over, \
            misshapen, NaN or infinite. Exits with 65 if anything is wrong.
            """
    )

    @Argument(help: "A folder, or a bundled model's name.")
    var model: String

    @Flag(help: "As JSON.")
    var json = false

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
