import HTTPTypes
import Hummingbird
import NIOCore

/// A session's frames as `multipart/x-mixed-replace`, for an `<img>`, OBS or VLC.
enum MotionJPEG {
    private static let boundary = "swanframe"

    /// The response: frames until the session ends or the client leaves. A slow client skips frames.
    static func response(_ session: LiveSession) -> Response {
        let body = ResponseBody { writer in
            let outbox = Outbox(frameCapacity: 2)
            let number = session.watch(outbox)
            defer { session.unwatch(number) }
            // Browsers show a part when the next boundary arrives, so each part ends with one.
            try await writer.write(ByteBuffer(string: "--\(boundary)\r\n"))
            while let item = await outbox.next() {
                guard case .frame(let frame) = item else { continue }
                try await writer.write(part(frame))
            }
            try await writer.finish(nil)
        }
        return Response(
            status: .ok,
            headers: [
                .contentType: "multipart/x-mixed-replace; boundary=\(boundary)",
                .cacheControl: "no-store",
            ],
            body: body
        )
    }

    private static func part(_ frame: OutputFrame) -> ByteBuffer {
        let type = frame.header.codec == .jpeg ? "image/jpeg" : "image/png"
        var buffer = ByteBuffer(
            string: "Content-Type: \(type)\r\nContent-Length: \(frame.picture.count)\r\n\r\n"
        )
        buffer.writeBytes(frame.picture)
        buffer.writeString("\r\n--\(boundary)\r\n")
        return buffer
    }
}
