import Foundation
import HTTPTypes
import Logging
import SwanHTTP
import SwanSystem
import SwanThreads

/// The jobs of a server. One runs at a time, on a thread whose priority is below that of live sessions.
///
/// What memory holds is what the database holds, except for the progress of the running job.
final class JobQueue: @unchecked Sendable {
    /// Makes a job's video, and writes it under its final name.
    typealias Work = @Sendable (VideoJob, JobControl) throws -> JobResult

    /// A client's view of a job.
    struct Snapshot: Sendable, Equatable {
        var job: VideoJob
        var progress: Int
    }

    /// What those who watch a job are told.
    enum Change: Sendable, Equatable {
        case state(Snapshot)
        case deleted(id: String)
    }

    /// How often a job is started before a server that was stopped by it leaves it alone.
    private static let attempts = 3
    private static let priority = 15

    let store: JobStore
    private let limits: JobLimits
    private let work: Work
    private let log: Logger
    private let threads = WorkerThreads()

    // Everything below is protected by `condition`.
    private let condition = NSCondition()
    private var jobs: [VideoJob] = []
    private var places = 0
    private var running: (id: String, control: JobControl, progress: Int)?
    private var watchers: [Int: (id: String, continuation: AsyncStream<Change>.Continuation)] =
        [:]
    private var lastWatcher = 0
    private var isOpen = true

    /// Takes over the jobs of a folder and starts with those that wait.
    init(_ store: JobStore, _ limits: JobLimits, log: Logger, work: @escaping Work) throws {
        self.store = store
        self.limits = limits
        self.log = log
        self.work = work
        jobs = try store.jobs()
        for index in jobs.indices where jobs[index].status == .running { try recover(index) }
        store.removeStrayFiles(keeping: jobs)
        try threads.start("swan.jobs") { [self] in
            try lowerThreadPriority(to: Self.priority)
            while let (job, control) = next() { run(job, control) }
        }
    }

    /// Queues a job again that ran when the server ended.
    private func recover(_ index: Int) throws {
        if jobs[index].attempts < Self.attempts {
            jobs[index].status = .queued
        } else {
            let message = "The server ended while it made this video, \(Self.attempts) times."
            finish(&jobs[index], .failure(JobFailure(.interrupted, message)))
        }
        try store.update(jobs[index])
    }

    // MARK: - Adding

    /// A place in the queue, taken until it is released or a job has it.
    final class Place: Sendable {
        private let queue: JobQueue

        fileprivate init(_ queue: JobQueue) { self.queue = queue }

        deinit { queue.condition.withLock { queue.places -= 1 } }
    }

    /// Takes a place for a job that has arrived and is being checked; nil if the queue is full.
    ///
    /// - Parameter key: The idempotency key. If a job has it, the request adds none.
    func reserve(_ key: String? = nil) -> Place? {
        condition.withLock {
            guard hasPlaceLocked(key) else { return nil }
            places += 1
            return Place(self)
        }
    }

    /// Whether `reserve` would find a place now.
    func hasPlace(_ key: String? = nil) -> Bool { condition.withLock { hasPlaceLocked(key) } }

    private func hasPlaceLocked(_ key: String?) -> Bool {
        let waiting = jobs.count { !$0.status.isFinal }
        let isRepeated = key != nil && jobs.contains { $0.idempotencyKey == key }
        return isOpen && (isRepeated || waiting + places < limits.queued)
    }

    /// Stores a job, which runs when those before it are finished.
    ///
    /// - Returns: The job; an earlier one if it has the same idempotency key and the same content.
    func add(_ job: VideoJob, _ place: Place) throws -> Snapshot {
        try condition.withLock {
            guard isOpen else { throw APIError.stopping }
            removeExpired()
            if let key = job.idempotencyKey,
                let earlier = jobs.first(where: { $0.idempotencyKey == key })
            {
                guard earlier.requestDigest == job.requestDigest else { throw APIError.reusedKey }
                return snapshot(earlier)
            }
            var job = job
            try store.insert(&job)
            jobs.append(job)
            condition.broadcast()
            return snapshot(job)
        }
    }

    // MARK: - Reading

    /// A job that has not expired.
    func job(_ id: String) -> Snapshot? {
        condition.withLock { find(id).map { snapshot(jobs[$0]) } }
    }

    /// All jobs that have not expired, the oldest first.
    var all: [Snapshot] {
        let now = Date()
        return condition.withLock { jobs.filter { !$0.isExpired(at: now) }.map { snapshot($0) } }
    }

    /// A job whenever it changes, until it is finished or deleted.
    func changes(of id: String) -> AsyncStream<Change> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: Change.self,
            bufferingPolicy: .bufferingNewest(1)
        )
        condition.withLock {
            guard isOpen, let index = find(id) else { return continuation.finish() }
            continuation.yield(.state(snapshot(jobs[index])))
            guard !jobs[index].status.isFinal else { return continuation.finish() }
            lastWatcher += 1
            let number = lastWatcher
            watchers[number] = (id, continuation)
            continuation.onTermination = { [weak self] _ in
                // Not at once: the queue may be what ended it, and holds its lock.
                DispatchQueue.global().async { [weak self] in self?.unwatch(number) }
            }
        }
        return stream
    }

    private func unwatch(_ number: Int) { condition.withLock { watchers[number] = nil } }

    private func find(_ id: String) -> Int? {
        jobs.firstIndex { $0.id == id && !$0.isExpired(at: Date()) }
    }

    private func snapshot(_ job: VideoJob) -> Snapshot {
        let progress =
            switch job.status {
            case .completed: 100
            case .running: running?.id == job.id ? running?.progress ?? 0 : 0
            case .queued, .failed: 0
            }
        return Snapshot(job: job, progress: progress)
    }

    private func announce(_ job: VideoJob) {
        for (_, watcher) in watchers where watcher.id == job.id {
            watcher.continuation.yield(.state(snapshot(job)))
            if job.status.isFinal { watcher.continuation.finish() }
        }
    }

    // MARK: - Removing

    /// Deletes a job and its files; one that runs is stopped.
    ///
    /// - Returns: Whether there was one.
    func delete(_ id: String) throws -> Bool {
        try condition.withLock {
            guard let index = find(id) else { return false }
            let job = jobs[index]
            if running?.id == id { running?.control.stop() }
            try store.delete(job)
            jobs.remove(at: index)
            for (_, watcher) in watchers where watcher.id == id {
                watcher.continuation.yield(.deleted(id: id))
                watcher.continuation.finish()
            }
            return true
        }
    }

    private func removeExpired() {
        let now = Date()
        for job in jobs.filter({ $0.isExpired(at: now) }) {
            do {
                try store.delete(job)
                jobs.removeAll { $0.id == job.id }
            } catch {
                log.error("An expired job could not be removed: \(error)")
                return
            }
        }
    }

    // MARK: - Running

    /// Waits for a job to run; nil when the queue is closed.
    private func next() -> (VideoJob, JobControl)? {
        condition.withLock {
            while isOpen {
                removeExpired()
                if let index = jobs.firstIndex(where: { $0.status == .queued }) {
                    return begin(index)
                }
                _ = condition.wait(until: Date() + limits.cleaningInterval.seconds)
            }
            return nil
        }
    }

    private func begin(_ index: Int) -> (VideoJob, JobControl) {
        let id = jobs[index].id
        let control = JobControl { [weak self] progress in self?.note(progress, of: id) }
        jobs[index].status = .running
        jobs[index].attempts += 1
        running = (id, control, 0)
        save(jobs[index])
        announce(jobs[index])
        return (jobs[index], control)
    }

    private func note(_ progress: Int, of id: String) {
        condition.withLock {
            guard running?.id == id, progress > running?.progress ?? 0, let index = find(id) else {
                return
            }
            running?.progress = progress
            announce(jobs[index])
        }
    }

    private func run(_ job: VideoJob, _ control: JobControl) {
        let result = Result { try work(job, control) }
        condition.withLock {
            running = nil
            condition.broadcast()
            guard let index = jobs.firstIndex(where: { $0.id == job.id }) else {
                // It was deleted meanwhile, perhaps just before its file got its name.
                for variant in JobStore.Variant.allCases { unlink(store.path(job, variant)) }
                return
            }
            if case .failure(let error) = result {
                if !isOpen, control.isStopped {
                    // The server stops. The next one starts the job from the beginning.
                    jobs[index].status = .queued
                    jobs[index].attempts -= 1
                    return save(jobs[index])
                }
                log.error("A job failed: \(error)", metadata: ["job": "\(job.id)"])
            }
            finish(&jobs[index], result)
            save(jobs[index])
            announce(jobs[index])
        }
    }

    private func finish(_ job: inout VideoJob, _ result: Result<JobResult, any Error>) {
        let now = Date()
        job.completedAt = Int(now.timeIntervalSince1970)
        job.expiresAt = Int((now + limits.lifetime.seconds).timeIntervalSince1970.rounded(.up))
        switch result {
        case .success(let video):
            job.status = .completed
            (job.size, job.frames, job.frameRate) = (video.size, video.frames, video.frameRate)
            job.issues = video.issues.isEmpty ? nil : video.issues
        case .failure(let error):
            job.status = .failed
            job.failure = JobFailure(error)
        }
    }

    /// Stores the state of a job. If the disk is full, memory has it, and a restart would run the job again.
    private func save(_ job: VideoJob) {
        do {
            try store.update(job)
        } catch {
            log.error(
                "The state of a job could not be stored: \(error)",
                metadata: ["job": "\(job.id)"]
            )
        }
    }

    /// Stops the running job and waits for it for a moment; one that does not stop in time ends with the process.
    func close() {
        condition.withLock {
            isOpen = false
            running?.control.stop()
            for (_, watcher) in watchers { watcher.continuation.finish() }
            condition.broadcast()
            let deadline = Date() + limits.closeTimeout.seconds
            while running != nil, condition.wait(until: deadline) {}
        }
    }
}

extension APIError {
    fileprivate static let stopping = APIError(
        .serviceUnavailable,
        "stopping",
        "The server is stopping.",
        headers: [.retryAfter: "10"]
    )

    fileprivate static let reusedKey = APIError(
        .unprocessableContent,
        "idempotency_key_reused",
        "Another request had this idempotency key; use a new key for each video.",
        parameter: "Idempotency-Key"
    )
}
