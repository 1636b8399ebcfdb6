import ArgumentParser
import Foundation
import SwanEvaluation
import SwanPipelines

/// `swan doctor`: checks the installation.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Check the installation and suggest how to fix problems.",
        discussion: "Exits with 0 if 'swan stream' can run, otherwise with 69."
    )

    @Flag(help: "Print the result as JSON.")
    var json = false

    func run() throws {
        let diagnosis = Diagnosis()
        if json {
            try StandardOutput.write(diagnosis.json())
        } else {
            try StandardOutput.write(diagnosis.lines.joined(separator: "\n"))
        }
        guard diagnosis.canStream else { throw ExitCode(EX_UNAVAILABLE) }
    }
}
