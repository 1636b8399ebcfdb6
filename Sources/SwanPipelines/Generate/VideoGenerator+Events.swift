import SwanMedia
import SwanSystem
import SwanThreads

extension VideoGenerator {
    /// The events of making a video, the last of which is the result with all frames.
    ///
    /// The work is done on a thread of its own. Whoever stops listening ends it within a step.
    public func events(
        _ request: GenerationRequest
    ) -> AsyncThrowingStream<GenerationEvent, any Error> {
        AsyncThrowingStream { continuation in
            let stop = CancellationFlag()
            continuation.onTermination = { _ in stop.cancel() }
            do throws(SwanError) {
                try startThread("swan.generate", stackBytes: 8 << 20) {
                    do {
                        var frames: [VideoFrame] = []
                        var video = try self.generate(request, stop: stop) { event in
                            if case .frames(let part, _) = event { frames += part }
                            continuation.yield(event)
                        }
                        video.frames = frames
                        continuation.yield(.result(video))
                        continuation.finish()
                    } catch {
                        continuation.finish(throwing: error)
                    }
                }
            } catch {
                continuation.finish(throwing: error)
            }
        }
    }
}
