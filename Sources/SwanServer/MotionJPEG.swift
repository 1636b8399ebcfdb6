import HTTPTypes
import Hummingbird
import NIOCore

/// A session's frames as `multipart/x-mixed-replace`, for an `<img>`, OBS or VLC.
enum MotionJPEG {
    private static let boundary = "swanframe"

    /// Whether a path answers with such a stream, which players show that can send no header of their own.
    @Sendable static func isPath(_ path: String) -> Bool {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        return parts.starts(with: ["api", "stream"]) && parts.count == 3
            || parts.starts(with: ["v1", "realtime", "sessions"]) && parts.count == 5
                && parts.last == "mjpeg"
    }

    /// The response: frames until the session ends or the client leaves. A slow client skips frames.
    static func response(_ session: LiveSession) -> Response {
        response(boundary: boundary) { writer in
            let outbox = Outbox(frameCapacity: 2)
            let number = session.watch(outbox)
            defer { session.unwatch(number) }
            try await write(outbox, boundary: boundary, to: &writer)
        }
    }

    /// A response whose parts `body` writes.
    static func response(
        boundary: String,
        body: @escaping @Sendable (inout any ResponseBodyWriter) async throws -> Void
    ) -> Response {
        Response(
            status: .ok,
            headers: [
                .contentType: "multipart/x-mixed-replace; boundary=\(boundary)",
                .cacheControl: "no-store",
            ],
            body: ResponseBody { writer in
                try await body(&writer)
                try await writer.finish(nil)
            }
        )
    }

    /// Writes the frames of an outbox until it is closed.
    ///
    /// - Parameter interval: The least time between two frames, which come out a chunk at a time.
    static func write(
        _ outbox: Outbox,
        boundary: String,
        interval: Duration = .zero,
        to writer: inout any ResponseBodyWriter
    ) async throws {
        // Browsers show a part when the next boundary arrives, so each part ends with one.
        try await writer.write(ByteBuffer(string: "--\(boundary)\r\n"))
        var next = ContinuousClock.now
        while let item = await outbox.next() {
            guard case .frame(let frame) = item else { continue }
            if interval > .zero { try await Task.sleep(until: next) }
            next = max(next, .now) + interval
            try await writer.write(part(frame, boundary))
        }
    }

    private static func part(_ frame: OutputFrame, _ boundary: String) -> ByteBuffer {
        var buffer = ByteBuffer(
            string: "Content-Type: image/jpeg\r\nContent-Length: \(frame.picture.count)\r\n\r\n"
        )
        buffer.writeBytes(frame.picture)
        buffer.writeString("\r\n--\(boundary)\r\n")
        return buffer
    }
}
