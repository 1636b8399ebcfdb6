import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// A job's state as server-sent events, until it is finished or deleted.
enum VideoEvents {
    /// The time after which a comment shows that the connection is alive.
    private static let keepalive = Duration.seconds(15)

    static func response(
        _ changes: AsyncStream<JobQueue.Change>,
        to request: Request
    ) -> Response {
        let body = ResponseBody { writer in
            let (texts, end) = texts(changes)
            // Between two events, nothing is written that would fail when the client has left.
            try await request.body.consumeWithInboundCloseHandler { _ in
                for await text in texts { try await writer.write(ByteBuffer(string: text)) }
            } onInboundClosed: {
                end.finish()
            }
            try await writer.finish(nil)
        }
        return Response(
            status: .ok,
            headers: [.contentType: "text/event-stream", .cacheControl: "no-store"],
            body: body
        )
    }

    /// The events as text, with comments between them if they are rare.
    private static func texts(
        _ changes: AsyncStream<JobQueue.Change>
    ) -> (texts: AsyncStream<String>, end: AsyncStream<String>.Continuation) {
        let (texts, continuation) = AsyncStream<String>.makeStream()
        let task = Task {
            for await change in changes { continuation.yield(text(change)) }
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
        return (texts, continuation)
    }

    private static func text(_ change: JobQueue.Change) -> String {
        switch change {
        case .state(let video): event(video.job.status.rawValue, VideoObject(video))
        case .deleted(let id): event(DeletedVideo.name, DeletedVideo(id: id))
        }
    }

    private static func event(_ name: String, _ value: some Encodable) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(value) else { return ": \n\n" }
        // JSON contains no line breaks.
        return "event: \(name)\ndata: \(String(decoding: data, as: UTF8.self))\n\n"
    }
}
