import Foundation
import SwanPipelines

/// A text message to a client of `/v1/realtime`. See docs/protocol.md.
enum ServerMessage: Encodable, Sendable {
    struct Ready: Encodable, Sendable {
        let type = "ready"
        let session: String
        let resumed: Bool
        let width, height: Int
        let chunkFrames, firstChunkFrames: Int
        let fps: Double
        let credit: Int
        let steps, maxSteps: Int
        let model: String
        let styles: [String]
        let issues: [String]
    }

    struct Applied: Encodable, Sendable {
        let type = "applied"
        let event: UInt32
        let chunk: Int
        let issues: [String]
    }

    struct Pong: Encodable, Sendable {
        let type = "pong"
        let time: Double
    }

    /// A request for a key frame of H.264.
    struct KeyFrame: Encodable, Sendable {
        let type = "keyframe"
    }

    struct Failure: Encodable, Sendable {
        let type = "error"
        let code: String
        let message: String
        let param: String?
        let event: UInt32?
        let retryAfter: Int?
        let fits: Fits?

        init(_ error: MessageError, event: UInt32? = nil) {
            (code, message, param) = (error.code, error.message, error.parameter)
            (retryAfter, fits) = (error.retryAfter, error.fits.map(Fits.init))
            self.event = event ?? error.event
        }
    }

    /// A session that there is room for.
    struct Fits: Encodable, Sendable {
        let width, height, steps: Int
        let fps: Double

        init(_ demand: StreamDemand) {
            (width, height, steps) = (demand.width, demand.height, demand.steps)
            fps = demand.framesPerSecond
        }
    }

    struct Ended: Encodable, Sendable {
        let type = "ended"
        let reason: String
    }

    case ready(Ready)
    case applied(Applied)
    case stats(SessionStats)
    case pong(Pong)
    case keyFrame
    case failure(Failure)
    case ended(Ended)

    func encode(to encoder: any Encoder) throws {
        switch self {
        case .ready(let message): try message.encode(to: encoder)
        case .applied(let message): try message.encode(to: encoder)
        case .stats(let message): try message.encode(to: encoder)
        case .pong(let message): try message.encode(to: encoder)
        case .keyFrame: try KeyFrame().encode(to: encoder)
        case .failure(let message): try message.encode(to: encoder)
        case .ended(let message): try message.encode(to: encoder)
        }
    }

    /// The message as JSON.
    var text: String {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.withoutEscapingSlashes]
        // Only numbers that are not finite could fail, and there are none.
        return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
    }
}
