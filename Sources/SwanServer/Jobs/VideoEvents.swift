import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// A job's state as server-sent events, until it is finished or deleted.
enum VideoEvents {
    /// The time after which a comment shows that the connection is alive.
    private static let keepalive = Duration.seconds(15)

    static func response(_ changes: AsyncStream<JobQueue.Snapshot>) -> Response {
        let body = ResponseBody { writer in
            let texts = texts(changes)
            for await text in texts { try await writer.write(ByteBuffer(string: text)) }
            try await writer.finish(nil)
        }
        return Response(
            status: .ok,
            headers: [.contentType: "text/event-stream", .cacheControl: "no-store"],
            body: body
        )
    }

    /// The events as text, with comments between them if they are rare.
    private static func texts(_ changes: AsyncStream<JobQueue.Snapshot>) -> AsyncStream<String> {
        AsyncStream { continuation in
            let task = Task {
                for await video in changes { continuation.yield(text(video)) }
                continuation.finish()
            }
            let pulse = Task {
                while !Task.isCancelled {
                    try await Task.sleep(for: keepalive)
                    continuation.yield(": \n\n")
                }
            }
            continuation.onTermination = { _ in
                task.cancel()
                pulse.cancel()
            }
        }
    }

    private static func text(_ video: JobQueue.Snapshot) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(VideoObject(video)) else { return ": \n\n" }
        // JSON contains no line breaks.
        return
            "event: \(video.job.status.rawValue)\ndata: \(String(decoding: data, as: UTF8.self))\n\n"
    }
}
