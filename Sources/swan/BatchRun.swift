import ArgumentParser
import Foundation
import Logging
import SwanMedia
import SwanPipelines
import SwanSystem
import Torch

/// Runs the jobs of a batch for the command line.
struct BatchRun {
    let request: FileStreamRequest
    let jobs: [BatchPlan.Job]
    let json: String?
    let progress: ProgressStyle
    let log: Logger

    /// Runs the jobs, and writes their summary. Throws the exit code of the first failure.
    func run(_ overwriting: OverwriteOption) throws {
        var request = request
        request.overwrites = try overwriting.permit(files)
        let batch = FileBatch(request, jobs, log: log)
        let report = try JSONReport(json, replaces: request.overwrites)
        let messages = StopSignals.Messages(
            stopping: "stopping after the finished frames (repeat to discard the current output)"
        )
        let signals = try StopSignals(
            messages,
            stop: { batch.stop() },
            abandon: { batch.abandon() }
        )
        Engine.sleepWhileWaiting()
        var failure: SwanError.Code?
        try ReportedJob(signals: signals, report: report, log: log).run {
            var display = ProgressDisplay(progress)
            let summary = try batch.run { show($0, &display) }
            say(summary)
            failure = summary.files.lazy.compactMap(\.code).first
            return try summary.json()
        }
        if let failure { throw ExitCode(failure.exitStatus) }
    }

    private func show(_ event: FileBatch.Event, _ display: inout ProgressDisplay) {
        switch event {
        case .began(let job, let number):
            display = ProgressDisplay(progress)
            guard progress != .none else { return }
            say(.note, "\(job.input) (\(number + 1) of \(jobs.count))")
        case .progress(let progress): display.show(progress)
        case .ended(let file):
            if let summary = file.summary { return display.end(summary) }
            Terminal.standardError.clear()
            if let error = file.error { say(.error, error) }
        }
    }

    private func say(_ summary: BatchSummary) {
        let failed = summary.files.filter { $0.status == .failed }.map(\.input)
        let made = summary.count(.done) + summary.count(.interrupted)
        var text = "\(made) of \(jobs.count) outputs are complete"
        if !failed.isEmpty { text += "; failed: \(failed.joined(separator: ", "))" }
        let skipped = summary.count(.skipped)
        if skipped > 0 { text += "; not started: \(skipped)" }
        if progress != .none || !failed.isEmpty { say(.note, text) }
    }

    private func say(_ kind: Terminal.Kind, _ text: String) {
        Terminal.standardError.write(kind: kind, text)
    }

    /// The files that the jobs read and write.
    private var files: JobFiles {
        var files = StreamCommand.Work.several(request, jobs).files
        if let json { files.outputs.append(.file(json)) }
        return files
    }
}
