import ArgumentParser
import Foundation
import SwanEvaluation
import SwanPipelines

/// `swan doctor`: what this machine has, and what is missing.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Say what this machine has, what is missing, and how to get it.",
        discussion: "Exits with 0 if 'swan stream' can run, else with 69."
    )

    @Flag(help: "As JSON.")
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
