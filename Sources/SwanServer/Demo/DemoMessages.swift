import Foundation
import SwanPipelines
import SwanSystem

/// A message to a client of StreamDiffusionV2's demo protocol. See docs/protocol.md.
enum DemoStatus: Sendable {
    case connected, wait, sendFrame, uploadReceived, timeout
    case error(String)

    /// The message as JSON.
    var text: String {
        switch self {
        case .connected: Self.json("connected", "Connected")
        case .wait: Self.json("wait")
        case .sendFrame: Self.json("send_frame")
        case .uploadReceived: Self.json("upload_done_ack")
        case .timeout: Self.json("timeout", "The session ended because the client was silent.")
        case .error(let message): Self.json("error", message)
        }
    }

    private struct Message: Encodable {
        let status: String
        let message: String?
    }

    private static func json(_ status: String, _ message: String? = nil) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Two texts can always be encoded.
        let data = try? encoder.encode(Message(status: status, message: message))
        return data.map { String(decoding: $0, as: UTF8.self) } ?? "{}"
    }
}

/// The first of a client's messages; `next_frame` is followed by parameters and a picture.
struct DemoControl: Decodable {
    enum Status: String {
        case nextFrame = "next_frame"
        case noFrame = "no_frame"
        case pause, resume
        case uploadDone = "upload_done"
    }

    /// What the client says; nil for what the protocol does not have, which is ignored.
    let status: Status?
    /// The client's clock in milliseconds.
    let timestamp: Double

    private enum CodingKeys: String, CodingKey { case status, timestamp }

    init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        status = try values.decodeIfPresent(String.self, forKey: .status)
            .flatMap(Status.init(rawValue:))
        timestamp = try values.decodeIfPresent(Double.self, forKey: .timestamp) ?? 0
    }
}

/// The parameters that come with each frame. Those that are missing keep their value, and numbers out of
/// range become the nearest in range, as with sliders.
struct DemoParameters: Decodable, Equatable, Sendable {
    var prompt: String?
    var steps: Int?
    var noiseScale: Double?
    var seed: UInt64?
    /// Whether the stream begins anew.
    var restarts = false
    /// Whether all frames are restyled, however long it takes.
    var isUpload = false

    private enum CodingKeys: String, CodingKey {
        case prompt, steps, noiseScale = "noise_scale", seed, restart
        case inputMode = "input_mode", uploadMode = "upload_mode"
    }

    init() {}

    init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        let prompt = try values.decodeIfPresent(String.self, forKey: .prompt)
        self.prompt = prompt?.allSatisfy(\.isWhitespace) == true ? nil : prompt
        steps = try values.decodeIfPresent(Double.self, forKey: .steps)
            .map { Int(min(max($0.rounded(), 1), 1_000)) }
        noiseScale = try values.decodeIfPresent(Double.self, forKey: .noiseScale)
            .map { min(max($0, 0), 1) }
        seed = try values.decodeIfPresent(Double.self, forKey: .seed)
            .flatMap { UInt64(exactly: $0.rounded()) }
        restarts = try values.decodeIfPresent(Bool.self, forKey: .restart) ?? false
        let mode = try values.decodeIfPresent(String.self, forKey: .inputMode)
        let uploads = try values.decodeIfPresent(Bool.self, forKey: .uploadMode) ?? false
        isUpload = mode == "upload" || uploads
    }

    /// What differs from earlier parameters; nil if nothing does.
    func change(from old: DemoParameters, maxSteps: Int) -> StreamChange? {
        var change = StreamChange()
        if let prompt, prompt != old.prompt { change.prompts = [.init(prompt)] }
        if let steps, steps != old.steps { change.steps = min(steps, maxSteps) }
        if let noiseScale, noiseScale != old.noiseScale { change.noiseScale = noiseScale }
        if let seed, seed != old.seed { change.seed = seed }
        change.resets = restarts
        return change == StreamChange() ? nil : change
    }

    /// These parameters, with earlier ones for those that are missing.
    func filled(from old: DemoParameters) -> DemoParameters {
        var both = self
        both.prompt = prompt ?? old.prompt
        both.steps = steps ?? old.steps
        both.noiseScale = noiseScale ?? old.noiseScale
        both.seed = seed ?? old.seed
        return both
    }
}
