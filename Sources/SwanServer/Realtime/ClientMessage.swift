import Foundation
import SwanPipelines
import SwanSystem

/// A text message of a client of `/v1/realtime`. See docs/protocol.md.
enum ClientMessage {
    case start(StartMessage)
    case update(StreamChange, isPaused: Bool?)
    case ping(time: Double)
    /// Restyles the frames that are left, then ends the session.
    case finish
    /// Asks for a key frame of H.264.
    case keyFrame
    case stop

    /// Parses a message.
    ///
    /// - Throws: `MessageError` with what is wrong.
    init(_ text: String) throws(MessageError) {
        let data = Data(text.utf8)
        do {
            switch try JSONDecoder().decode(Kind.self, from: data).type {
            case "start": self = .start(try JSONDecoder().decode(StartMessage.self, from: data))
            case "update":
                let update = try JSONDecoder().decode(Update.self, from: data)
                self = .update(update.change, isPaused: update.paused)
            case "ping": self = .ping(time: try JSONDecoder().decode(Ping.self, from: data).time)
            case "finish": self = .finish
            case "keyframe": self = .keyFrame
            case "stop": self = .stop
            case let other:
                throw MessageError(
                    "unknown_type",
                    "'\(other.printable(limit: 40))' is not a message type; use start, update, "
                        + "keyframe, ping, finish or stop",
                    parameter: "type"
                )
            }
        } catch let error as MessageError {
            throw error
        } catch let error as DecodingError {
            throw MessageError(error)
        } catch {
            throw MessageError("invalid_message", "The message is not valid JSON.")
        }
    }

    /// Throws if a message has a key that is neither one of all changes nor one of its own.
    fileprivate static func requireKnownKeys<Keys: CodingKey & CaseIterable>(
        _ decoder: any Decoder,
        of keys: Keys.Type
    ) throws {
        let known = ["type"] + StreamChange.keys + Keys.allCases.map(\.stringValue)
        let values = try decoder.container(keyedBy: AnyCodingKey.self)
        try requireKnown(values, known, in: "this message")
        // Whatever else is wrong with them is found when they are decoded.
        guard let key = values.allKeys.first(where: { $0.stringValue == "prompts" }),
            var prompts = try? values.nestedUnkeyedContainer(forKey: key)
        else { return }
        while let prompt = try? prompts.nestedContainer(keyedBy: AnyCodingKey.self) {
            try requireKnown(prompt, StreamChange.WeightedPrompt.keys, in: "a prompt")
        }
    }

    private static func requireKnown(
        _ values: KeyedDecodingContainer<AnyCodingKey>,
        _ known: [String],
        in place: String
    ) throws(MessageError) {
        let found = values.allKeys.map(\.stringValue)
        guard let key = found.sorted().first(where: { !known.contains($0) }) else { return }
        let name = key.printable(limit: 80)
        let path = MessageError.words(values.codingPath)
        throw MessageError(
            "unknown_key",
            "There is no key '\(name)' in \(place); known are: "
                + "\(known.joined(separator: ", ")).",
            parameter: path.isEmpty ? name : "\(path).\(name)"
        )
    }

    private struct Kind: Decodable { let type: String }
    private struct Ping: Decodable { let time: Double }

    private struct Update: Decodable {
        let change: StreamChange
        let paused: Bool?

        private enum CodingKeys: String, CodingKey, CaseIterable { case paused }

        init(from decoder: any Decoder) throws {
            try ClientMessage.requireKnownKeys(decoder, of: CodingKeys.self)
            change = try StreamChange(from: decoder)
            paused = try decoder.container(keyedBy: CodingKeys.self)
                .decodeIfPresent(Bool.self, forKey: .paused)
        }
    }
}

/// What a client asks of a new session.
struct StartMessage: Decodable, Sendable {
    /// What the stream restyles.
    enum Input: String, CaseIterable, Sendable {
        case frames, none
    }

    /// How restyled frames are encoded.
    enum Output: String, CaseIterable, Sendable {
        case jpeg, png, h264
        /// JPEG, and H.264 when the network is too slow for it.
        case auto
    }

    /// The prompts; their event is that of the first chunks.
    var change: StreamChange
    var settings: StreamSettings
    var input = Input.frames
    var mode: StepMode { change.mode ?? .auto }
    var presentation = Presentation.newest
    var output = Output.jpeg
    /// The quality of JPEG pictures, 1 to 100.
    var quality = 90
    /// The bit rate of H.264, in bits per second; nil for one that suits size and rate.
    var bitsPerSecond: Int?
    /// The rate at which the client sends frames, in frames per second; nil for the model's.
    var framesPerSecond: Double?
    /// The size of the client's pictures, which decides the shape of the output.
    var sourceWidth, sourceHeight: Int?

    private enum CodingKeys: String, CodingKey, CaseIterable {
        case input, presentation, output, quality, bitsPerSecond = "bitrate"
        case framesPerSecond = "fps"
        case sourceWidth = "source_width", sourceHeight = "source_height"
    }

    init(from decoder: any Decoder) throws {
        try ClientMessage.requireKnownKeys(decoder, of: CodingKeys.self)
        change = try StreamChange(from: decoder)
        let values = try decoder.container(keyedBy: CodingKeys.self)
        settings = StreamSettings()
        (settings.width, settings.height) = (change.width, change.height)
        settings.fit = change.fit ?? settings.fit
        settings.steps = change.steps
        settings.noiseScale = change.noiseScale
        settings.fixedNoise = change.fixedNoise ?? settings.fixedNoise
        settings.seed = change.seed ?? settings.seed
        input = try values.decodeChoiceIfPresent(.input) ?? input
        presentation = try values.decodeChoiceIfPresent(.presentation) ?? presentation
        output = try values.decodeChoiceIfPresent(.output) ?? output
        bitsPerSecond = try values.decodeIfPresent(
            .bitsPerSecond,
            in: 50_000...50_000_000,
            unit: "bits per second"
        )
        quality = try values.decodeIfPresent(.quality, in: 1...100) ?? quality
        framesPerSecond = try values.decodeIfPresent(.framesPerSecond, in: 1...120)
        sourceWidth = try values.decodeIfPresent(.sourceWidth, in: 1...16_384, unit: "pixels")
        sourceHeight = try values.decodeIfPresent(.sourceHeight, in: 1...16_384, unit: "pixels")
    }
}
