import Foundation
import SwanCheckpoints
import SwanMedia
import SwanSystem
import Synchronization
import Torch

/// Runs the chunks of one stream at a time over several ranks.
extension SharedStreams {
    /// What the thread that feeds the ranks does next.
    private enum RankJob {
        case chunk(SharedStream, TaggedChunk)
        /// All chunks of the stream have been sent.
        case finish(SharedStream)
        /// The stream has left.
        case leave
    }

    /// The session that the ranks run, and whose it is.
    private struct Running {
        let session: StagedSession
        let owner: SharedStream
        let underway: UnderwayChunks
        /// The rows in which the newest chunk is denoised.
        var rows = 1
    }

    /// Feeds the ranks until the host is closed.
    func denoise(over ranks: StagedSessions) {
        budget.divided(by: 2).apply()
        var running: Running?
        do {
            try ranks.watch { [self] error in lose(ranks, error) }
            while let job = nextJob(after: running) {
                try run(job, ranks, &running)
            }
            if condition.withLock({ hasLostRanks }) {
                try? running?.session.end(dropping: true)
                return
            }
            try running?.session.end(dropping: true)
            ranks.close()
        } catch {
            lose(ranks, running?.session.failure ?? error)
            // Its threads end with the connections.
            try? running?.session.end(dropping: true)
        }
    }

    private func run(
        _ job: RankJob,
        _ ranks: StagedSessions,
        _ running: inout Running?
    ) throws {
        switch job {
        case .leave:
            try running?.session.end(dropping: true)
            running = nil
        case .finish(let stream):
            try running?.session.end(dropping: false)
            running = nil
            end(stream, nil)
        case .chunk(let stream, let chunk):
            if running != nil, chunk.resets || running?.owner.id != stream.id {
                try running?.session.end(dropping: running?.owner.id != stream.id)
                running = nil
            }
            var current = try running ?? begin(stream, chunk, ranks)
            current.rows = chunk.rows
            running = current
            current.underway.append(chunk, at: clock.now())
            // Older prompts are released.
            _ = chunk.tag.stages.prompts.conditioning(of: chunk.noised.prompt)
            try current.session.add(chunk.noised, chunk.options, embeddings: chunk.embeddings)
        }
    }

    private func begin(
        _ stream: SharedStream,
        _ chunk: TaggedChunk,
        _ ranks: StagedSessions
    ) throws -> Running {
        let underway = UnderwayChunks()
        let session = try ranks.begin(chunk.options) { [self] decoded in
            guard let (chunk, seconds) = underway.next(at: clock.now()) else { return }
            deliver(decoded, of: chunk, stream, denoising: seconds)
        }
        return Running(session: session, owner: stream, underway: underway)
    }

    /// Waits until there is something to do; nil when the host is closed.
    private func nextJob(after running: Running?) -> RankJob? {
        condition.withLock {
            while isOpen {
                if let owner = running?.owner, streams[owner.id] == nil { return .leave }
                for (id, state) in streams {
                    // Chunks of more rows stay until other steps push them out.
                    let most = state.noised.map { mostUnderway(max($0.rows, running?.rows ?? 1)) }
                    if let chunk = state.noised, state.underwayChunks < most ?? 0 {
                        streams[id]?.noised = nil
                        streams[id]?.underwayChunks += 1
                        condition.broadcast()
                        return .chunk(state.stream, chunk)
                    }
                    if state.noised == nil, state.isEncoded { return .finish(state.stream) }
                }
                condition.wait()
            }
            return nil
        }
    }

    /// The most chunks under way: those at a denoising step, and one that waits at each end.
    private func mostUnderway(_ rows: Int) -> Int { (ranks?.stageCount ?? 1) * rows + 2 }

    private func deliver(
        _ decoded: StagedSession.Decoded,
        of chunk: TaggedChunk,
        _ stream: SharedStream,
        denoising: Double
    ) {
        let mark = chunk.noised.mark
        var seconds = mark.seconds
        (seconds.denoise, seconds.decode) = (denoising, decoded.seconds)
        update(stream) { $0.underwayChunks -= 1 }
        let frames: [VideoFrame]
        do {
            frames = try chunk.tag.stages.decoding.show(decoded.frames, mark)
        } catch {
            return end(stream, error)
        }
        report(
            StreamedChunk(
                frames: frames,
                captureTimes: mark.captureTimes ?? [],
                seconds: seconds,
                latency: clock.seconds(since: mark.completion)
            ),
            stream,
            chunk.tag
        )
    }

    /// Ends all streams, because a rank has failed.
    private func lose(_ ranks: StagedSessions, _ error: any Error) {
        let isFirst = condition.withLock {
            defer { hasLostRanks = true }
            return !hasLostRanks
        }
        guard isFirst else { return }
        let reason = ranks.reason(of: error)
        fail(reason)
        condition.withLock { whenLost }?(reason)
    }
}

extension TaggedChunk {
    /// The rows of the stream batch in which it is denoised.
    fileprivate var rows: Int { tag.usesBatch ? options.configuration.steps.count : 1 }
}

/// The chunks that ranks have and have not returned, oldest first.
private final class UnderwayChunks: Sendable {
    private let state = Mutex(
        (chunks: [TaggedChunk](), last: nil as ContinuousClock.Instant?)
    )

    func append(_ chunk: TaggedChunk, at now: ContinuousClock.Instant) {
        state.withLock { state in
            // Until the first chunk returns, its own time counts.
            if state.chunks.isEmpty { state.last = now }
            state.chunks.append(chunk)
        }
    }

    /// Removes the chunk that returns now, with the seconds since the last one did.
    func next(at now: ContinuousClock.Instant) -> (TaggedChunk, seconds: Double)? {
        state.withLock { state in
            guard !state.chunks.isEmpty else { return nil }
            defer { state.last = now }
            return (state.chunks.removeFirst(), state.last.map { (now - $0).seconds } ?? 0)
        }
    }
}
