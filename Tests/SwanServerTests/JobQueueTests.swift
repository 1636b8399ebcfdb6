import Foundation
import Logging
import SwanHTTP
import SwanSystem
import Synchronization
import Testing

@testable import SwanServer

/// The queue with work that ends when the test says so.
@Suite struct JobQueueTests {
    private let folder = FileManager.default.temporaryDirectory
        .appendingPathComponent("jobs-\(UUID().uuidString)").path
    private static let result = JobResult(
        size: JobRequest.Size(width: 64, height: 48),
        frames: 24,
        frameRate: 12
    )

    private func queue(
        limits: JobLimits = JobLimits(),
        work: @escaping JobQueue.Work = { _, _ in result }
    ) throws -> JobQueue {
        var limits = limits
        limits.cleaningInterval = .milliseconds(20)
        return try JobQueue(JobStore(folder), limits, log: Logger(label: "test"), work: work)
    }

    private func job(_ prompt: String = "sepia", key: String? = nil, digest: String = "")
        -> VideoJob
    {
        let request = JobRequest(kind: .restyle, model: "tiny", prompt: prompt)
        var job = VideoJob(request: request, digest: digest)
        job.idempotencyKey = key
        return job
    }

    private func add(_ job: VideoJob, to queue: JobQueue) throws -> VideoJob {
        try queue.add(job, #require(queue.reserve())).job
    }

    private func remove() throws { try FileManager.default.removeItem(atPath: folder) }

    /// The last state of a job.
    private func end(of id: String, _ queue: JobQueue) async -> JobQueue.Snapshot? {
        var last: JobQueue.Snapshot?
        for await case .state(let state) in queue.changes(of: id) { last = state }
        return last
    }

    @Test func runsJobsInOrder() async throws {
        let order = Mutex<[String]>([])
        let queue = try queue { job, control in
            order.withLock { $0.append(job.request.prompt) }
            control.advance(to: 0.5)
            return Self.result
        }
        let ids = try (1...3).map { try add(job("\($0)"), to: queue).id }
        let last = await end(of: ids[2], queue)
        #expect(last?.job.status == .completed)
        #expect(last?.progress == 100)
        #expect(last?.job.frames == 24)
        #expect(order.withLock { $0 } == ["1", "2", "3"])
        queue.close()
        try remove()
    }

    @Test func issuesOfPromptsAreKept() async throws {
        var first: JobQueue? = try queue { _, _ in
            var result = Self.result
            result.issues = ["no such style"]
            return result
        }
        let id = try add(job(), to: #require(first)).id
        var last: JobQueue.Snapshot?
        if let first { last = await end(of: id, first) }
        #expect(last?.job.issues == ["no such style"])
        let object = try JSONEncoder().encode(VideoObject(#require(last)))
        let text = String(decoding: object, as: UTF8.self)
        #expect(text.contains(#""issues":["no such style"]"#))
        first?.close()
        first = nil
        let second = try await reopened()
        #expect(second.job(id)?.job.issues == ["no such style"])
        second.close()
        try remove()
    }

    @Test func failuresHaveNoPaths() async throws {
        let queue = try queue { _, _ in
            throw SwanError(.noSuchFile, "/home/someone/secret: no such file")
        }
        let id = try add(job(), to: queue).id
        let failure = try #require(await end(of: id, queue)?.job.failure)
        #expect(failure.code == .failed)
        #expect(!failure.message.contains("/"))
        queue.close()
        try remove()
    }

    @Test(arguments: [
        ("/var/x/a.mp4: the size is odd", "the size is odd"),
        ("the steps must be 1 to 4, not 9", "the steps must be 1 to 4, not 9"),
        ("cannot open ../a b", "cannot open  b"), ("see ~/x/y, please", "see , please"),
    ]) func messagesForClients(message: String, shown: String) {
        #expect(JobFailure.withoutPaths(message) == shown)
    }

    @Test func theQueueHasALimit() throws {
        var limits = JobLimits()
        limits.queued = 2
        let queue = try queue(limits: limits) { _, control in
            while !control.isStopped { usleep(1_000) }
            throw CancellationError()
        }
        let place = try #require(queue.reserve())
        let other = try #require(queue.reserve())
        #expect(queue.reserve() == nil)
        _ = try queue.add(job(), place)
        withExtendedLifetime(other) {}
        queue.close()
        #expect(queue.reserve() == nil)
        try remove()
    }

    @Test func aStoppedServerStartsItsJobAgain() async throws {
        let started = DispatchSemaphore(value: 0)
        var first: JobQueue? = try queue { _, control in
            started.signal()
            while !control.isStopped { usleep(1_000) }
            throw CancellationError()
        }
        let (running, waiting) = try (
            add(job("a"), to: #require(first)), add(job("b"), to: #require(first))
        )
        started.wait()
        first?.close()
        first = nil
        let second = try await reopened()
        #expect(await end(of: waiting.id, second)?.job.status == .completed)
        #expect(second.job(running.id)?.job.status == .completed)
        #expect(second.job(running.id)?.job.attempts == 1)
        second.close()
        try remove()
    }

    /// A new queue on the folder, once the thread of the old one has let it go.
    private func reopened() async throws -> JobQueue {
        for _ in 0..<500 {
            do {
                return try queue()
            } catch let error as SwanError where error.code == .exists {
                try await Task.sleep(for: .milliseconds(10))
            }
        }
        return try queue()
    }

    @Test func aFolderBelongsToOneQueue() throws {
        let store = try JobStore(folder)
        #expect(throws: SwanError.self) { try JobStore(folder) }
        withExtendedLifetime(store) {}
        try remove()
    }

    @Test func onlyTheUserReadsTheDatabase() throws {
        let queue = try queue()
        _ = try add(job(), to: queue)
        let names = try FileManager.default.contentsOfDirectory(atPath: folder)
            .filter { $0.hasPrefix("jobs.sqlite") }
        #expect(names.count == 3)
        for name in names {
            let attributes = try FileManager.default.attributesOfItem(atPath: "\(folder)/\(name)")
            #expect(attributes[.posixPermissions] as? Int == 0o600, "\(name)")
        }
        queue.close()
        try remove()
    }

    @Test func filesOfNoJobAreRemoved() throws {
        let names = [
            "uploads/upload-1", "inputs/video_1-0", "videos/.video_1.swan-partial-1.mp4",
            "videos/video_1.mp4",
        ]
        var store: JobStore? = try JobStore(folder)
        for name in names {
            #expect(FileManager.default.createFile(atPath: "\(folder)/\(name)", contents: Data()))
        }
        store = nil
        withExtendedLifetime(store) {}
        let queue = try queue()
        for name in names { #expect(!FileManager.default.fileExists(atPath: "\(folder)/\(name)")) }
        queue.close()
        try remove()
    }

    @Test func idempotencyKeys() throws {
        let queue = try queue { _, control in
            while !control.isStopped { usleep(1_000) }
            throw CancellationError()
        }
        let first = try add(job(key: "k", digest: "1"), to: queue)
        #expect(try add(job(key: "k", digest: "1"), to: queue).id == first.id)
        #expect(throws: APIError.self) { try add(job(key: "k", digest: "2"), to: queue) }
        #expect(queue.all.count == 1)
        queue.close()
        try remove()
    }

    @Test func deletedJobsStopAndLeaveNothing() async throws {
        let started = DispatchSemaphore(value: 0)
        let stopped = DispatchSemaphore(value: 0)
        let queue = try queue { _, control in
            control.whenStopped { stopped.signal() }
            started.signal()
            while !control.isStopped { usleep(1_000) }
            throw CancellationError()
        }
        let id = try add(job(), to: queue).id
        started.wait()
        let changes = queue.changes(of: id)
        #expect(try queue.delete(id))
        var last: JobQueue.Change?
        for await change in changes { last = change }
        #expect(last == .deleted(id: id))
        #expect(stopped.wait(timeout: .now() + 10) == .success)
        #expect(queue.job(id) == nil)
        #expect(try !queue.delete(id))
        queue.close()
        try remove()
    }

    @Test func jobsExpire() async throws {
        var limits = JobLimits()
        limits.lifetime = .milliseconds(1)
        let queue = try queue(limits: limits)
        let id = try add(job(), to: queue).id
        for _ in 0..<500 where queue.job(id) != nil { try await Task.sleep(for: .milliseconds(10)) }
        #expect(queue.job(id) == nil)
        queue.close()
        try remove()
    }

    @Test func lists() throws {
        let jobs = (0..<5).map { number in
            JobQueue.Snapshot(job: self.job("\(number)"), progress: 0)
        }
        let ids = jobs.map(\.job.id)
        let newest = VideoList(jobs, after: nil, limit: 2, isAscending: false)
        #expect((newest.firstID, newest.lastID, newest.hasMore) == (ids[4], ids[3], true))
        let next = VideoList(jobs, after: ids[3], limit: 3, isAscending: false)
        #expect((next.firstID, next.lastID, next.hasMore) == (ids[2], ids[0], false))
        let oldest = VideoList(jobs, after: ids[4], limit: 3, isAscending: true)
        #expect((oldest.firstID, oldest.hasMore) == (nil, false))
    }
}
