import Foundation
import SwanPipelines
import SwanSystem

/// The arguments of the tools; unknown ones are errors.
enum AgentArguments {
    struct Start: Decodable {
        let source: String
        let change: StreamChange
        let width, height: Int?
        let framesPerSecond: Double?

        private enum CodingKeys: String, CodingKey, CaseIterable {
            case source, width, height, framesPerSecond = "fps"
            case prompt, prompts, steps, noise = "noise_scale", fixedNoise = "fixed_noise", seed,
                fit
        }

        init(from decoder: any Decoder) throws {
            try decoder.requireKnownKeys(CodingKeys.self)
            let values = try decoder.container(keyedBy: CodingKeys.self)
            source = try values.decode(String.self, forKey: .source)
            change = try StreamChange(from: decoder)
            width = change.width
            height = change.height
            framesPerSecond = try values.decodeIfPresent(.framesPerSecond, in: 1...120)
        }
    }

    struct Prompt: Decodable {
        let session: String?
        let change: StreamChange

        private enum CodingKeys: String, CodingKey, CaseIterable {
            case session, prompt, prompts, transition
        }

        init(from decoder: any Decoder) throws {
            try decoder.requireKnownKeys(CodingKeys.self)
            let values = try decoder.container(keyedBy: CodingKeys.self)
            session = try values.decodeIfPresent(String.self, forKey: .session)
            change = try StreamChange(from: decoder)
            guard change.prompts != nil else {
                throw DecodingError.dataCorruptedError(
                    forKey: .prompt,
                    in: values,
                    debugDescription: "give prompt, or prompts"
                )
            }
        }
    }

    struct Parameters: Decodable {
        let session: String?
        let change: StreamChange
        let paused: Bool?

        private enum CodingKeys: String, CodingKey, CaseIterable {
            case session, paused, steps, noise = "noise_scale", fixedNoise = "fixed_noise", seed,
                fit
            case reset
        }

        init(from decoder: any Decoder) throws {
            try decoder.requireKnownKeys(CodingKeys.self)
            let values = try decoder.container(keyedBy: CodingKeys.self)
            session = try values.decodeIfPresent(String.self, forKey: .session)
            change = try StreamChange(from: decoder)
            paused = try values.decodeIfPresent(Bool.self, forKey: .paused)
        }
    }

    struct Frame: Decodable {
        let session: String?
        let waitSeconds: Double

        private enum CodingKeys: String, CodingKey, CaseIterable {
            case session, waitSeconds = "wait_seconds"
        }

        init(from decoder: any Decoder) throws {
            try decoder.requireKnownKeys(CodingKeys.self)
            let values = try decoder.container(keyedBy: CodingKeys.self)
            session = try values.decodeIfPresent(String.self, forKey: .session)
            waitSeconds = try values.decodeIfPresent(.waitSeconds, in: 0...60) ?? 10
        }
    }

    struct Session: Decodable {
        let session: String?

        private enum CodingKeys: String, CodingKey, CaseIterable { case session }

        init(from decoder: any Decoder) throws {
            try decoder.requireKnownKeys(CodingKeys.self)
            session = try decoder.container(keyedBy: CodingKeys.self)
                .decodeIfPresent(String.self, forKey: .session)
        }
    }

    struct None: Decodable {
        private enum CodingKeys: String, CodingKey, CaseIterable { case none }

        init(from decoder: any Decoder) throws {
            guard try decoder.container(keyedBy: AnyCodingKey.self).allKeys.isEmpty else {
                throw DecodingError.dataCorrupted(
                    .init(codingPath: [], debugDescription: "this tool has no arguments")
                )
            }
        }
    }

    /// Decodes the arguments of a call.
    static func decode<Value: Decodable>(_ arguments: JSONValue) throws -> Value {
        try JSONDecoder().decode(Value.self, from: JSONEncoder().encode(arguments))
    }
}
