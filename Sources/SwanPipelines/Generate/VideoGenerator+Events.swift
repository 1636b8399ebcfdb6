import SwanMedia
import SwanSystem
import SwanThreads
import Torch

extension VideoGenerator {
    /// Generates a video and returns its events; the last one is the result with all frames.
    ///
    /// The work runs on a thread of its own, with the calling thread's compute budget, and waits while
    /// several events have not been read. Releasing the sequence ends it within a step.
    public func events(
        _ request: GenerationRequest
    ) -> AsyncThrowingStream<GenerationEvent, any Error> {
        let run = EventRun(self, request, budget: .current)
        return AsyncThrowingStream { try await run.next() }
    }
}

/// A generation whose events another task reads.
private final class EventRun: Sendable {
    private let events = BoundedQueue<GenerationEvent>(capacity: 4)
    private let stop = CancellationFlag()
    private let failure = FirstFailure()

    init(_ generator: VideoGenerator, _ request: GenerationRequest, budget: ComputeBudget) {
        do throws(SwanError) {
            // A reference to `self` would keep an abandoned generation alive.
            try startThread("swan.generate", stackBytes: 8 << 20) { [events, stop, failure] in
                budget.apply()
                do {
                    try Self.run(generator, request, events, stop)
                } catch {
                    failure.note(error)
                }
                events.close()
            }
        } catch {
            failure.note(error)
            events.close()
        }
    }

    deinit {
        stop.cancel()
        events.close(dropping: true)
    }

    func next() async throws -> GenerationEvent? {
        if let event = await events.receive() { return event }
        if let error = failure.error { throw error }
        return nil
    }

    private static func run(
        _ generator: VideoGenerator,
        _ request: GenerationRequest,
        _ events: BoundedQueue<GenerationEvent>,
        _ stop: CancellationFlag
    ) throws {
        var frames: [VideoFrame] = []
        var video = try generator.generate(request, stop: stop) { event in
            if case .frames(let part, _) = event { frames += part }
            _ = events.put(event)
        }
        video.frames = frames
        _ = events.put(.result(video))
    }
}
