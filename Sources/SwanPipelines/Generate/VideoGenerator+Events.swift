import SwanMedia
import SwanSystem
import SwanThreads

extension VideoGenerator {
    /// Generates a video and returns its events; the last one is the result with all frames.
    ///
    /// The work runs on a separate thread. Terminating the stream ends it within a step.
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
