package import Logging
import SwanMedia
import SwanSystem
import Synchronization

/// Several jobs with the same settings, one after the other, on one model. A job that fails does not
/// end the others.
public final class FileBatch: Sendable {
    private struct State {
        var current: FileStream?
        var done = 0
        var isStopped = false
    }

    private let request: FileStreamRequest
    private let jobs: [BatchPlan.Job]
    private let log: Logger
    private let state = Mutex(State())

    /// Creates a batch without starting it.
    ///
    /// - Parameter request: The settings; each job has its own input and output.
    package init(_ request: FileStreamRequest, _ jobs: [BatchPlan.Job], log: Logger) {
        (self.request, self.jobs, self.log) = (request, jobs, log)
    }

    /// What happens in a batch.
    package enum Event {
        /// A job begins, the first one with number 0.
        case began(BatchPlan.Job, Int)
        /// A job's progress.
        case progress(StreamProgress)
        /// A job ended.
        case ended(BatchSummary.File)
    }

    /// Runs all jobs. Throws if the model cannot be loaded, without which no job can run.
    package func run(_ onEvent: (Event) -> Void) throws -> BatchSummary {
        _ = try request.draft()
        let model = SharedModel()
        var summary = BatchSummary()
        for (number, job) in jobs.enumerated() {
            guard !state.withLock({ $0.isStopped }) else {
                summary.files.append(BatchSummary.File(job, .skipped))
                continue
            }
            onEvent(.began(job, number))
            let file = try run(job, model, onEvent)
            summary.files.append(file)
            onEvent(.ended(file))
        }
        return summary
    }

    private func run(
        _ job: BatchPlan.Job,
        _ model: SharedModel,
        _ onEvent: (Event) -> Void
    ) throws -> BatchSummary.File {
        let stream = FileStream(job.request(like: request), sharing: model, log: log)
        state.withLock { $0.current = stream }
        defer { state.withLock { $0.current = nil } }
        var file = BatchSummary.File(job, .done)
        do {
            let result = try stream.run { onEvent(.progress($0)) }
            file.summary = result
            if result.wasInterrupted { file.status = .interrupted }
            state.withLock { $0.done += 1 }
        } catch {
            if let failure = model.failure { throw failure }
            file.status = .failed
            file.error = "\(error)"
            file.code = (error as? SwanError)?.code ?? .io
        }
        return file
    }

    /// Ends the batch: the current job keeps the frames that are finished, and later ones are skipped. Can
    /// be called from any thread.
    ///
    /// - Returns: `false` if nothing is finished yet, so that there is nothing to keep.
    package func stop() -> Bool {
        let (current, done) = state.withLock { state in
            state.isStopped = true
            return (state.current, state.done)
        }
        let hasFrames = current?.stop() ?? false
        return hasFrames || done > 0
    }

    /// Removes the unfinished output before the process exits. Can be called from any thread.
    package func abandon() { state.withLock { $0.current }?.abandon() }
}

/// A model that jobs with the same settings share. The first one loads it.
final class SharedModel: Sendable {
    private let loaded = Mutex<Result<StreamModel, any Error>?>(nil)

    /// The model for a plan.
    func model(for plan: StreamPlan) throws -> StreamModel {
        try loaded.withLock { loaded in
            let result = loaded ?? Result { try plan.checkpoint.load(plan.dtype, plan.device) }
            loaded = result
            return try result.get()
        }
    }

    /// Why it could not be loaded; nil if it was, or was not tried yet.
    var failure: (any Error)? {
        loaded.withLock { loaded in
            if case .failure(let error) = loaded { error } else { nil }
        }
    }
}
