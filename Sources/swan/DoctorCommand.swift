import ArgumentParser
import Foundation
import SwanDistributed
import SwanEvaluation
import SwanPipelines
import SwanSystem
import Torch

/// `swan doctor`: checks the installation, or the network between ranks.
struct DoctorCommand: RankedCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Check the installation and suggest how to fix problems.",
        discussion: """
            Exits with 0 if 'swan stream' can run, otherwise with 69. With --distributed, measures the \
            network between several processes instead, and estimates what would limit each model:

              swan launch --nproc 2 -- doctor --distributed
            """
    )

    @Flag(help: "Print the result as JSON.")
    var json = false

    @Flag(
        help:
            "Measure all connections between the ranks of 'swan launch', torchrun, srun or mpirun."
    )
    var distributed = false

    @Option(
        name: .customLong("repeat"),
        parsing: .unconditional,
        help: "With --distributed: measure each connection N times; the median counts."
    )
    var repetitions: Int?

    var runsOverRanks: Bool { distributed }

    func validate() throws {
        guard repetitions == nil || distributed else {
            throw ValidationError("--repeat needs --distributed")
        }
        guard (1...1_000_000).contains(repetitions ?? 1) else {
            throw ValidationError("--repeat must be 1 to 1000000")
        }
    }

    func run() throws {
        if distributed { return try measureNetwork() }
        let diagnosis = Diagnosis()
        if json {
            try StandardOutput.write(diagnosis.json())
        } else {
            try StandardOutput.write(diagnosis.lines.joined(separator: "\n"))
        }
        guard diagnosis.canStream else { throw ExitCode(EX_UNAVAILABLE) }
    }

    private func measureNetwork() throws {
        guard let launch = try Ranks.launch else {
            throw SwanError(
                .invalidRequest,
                "--distributed needs several ranks: swan launch --nproc 2 -- doctor --distributed"
            )
        }
        let device = try launch.device(named: "auto")
        try Ranks.run(RankedJob(device: "\(device)")) { world in
            guard let world else { return }
            _ = try StopSignals(
                .init(stopping: "stopping", abandoned: "stopped"),
                stop: { false },
                abandon: {}
            )
            let report = try NetworkDiagnosis(world, device: device).run(
                repeating: repetitions ?? 1
            ) { round in
                guard let repetitions, repetitions > 1 else { return }
                Terminal.standardError.write(kind: .note, "round \(round) of \(repetitions)")
            }
            try StandardOutput.write(
                json ? report.json() : Data((report.lines.joined(separator: "\n") + "\n").utf8)
            )
        }
    }
}
