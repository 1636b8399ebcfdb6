import Foundation
import HTTPTypes
import SwanHTTP
import SwanPipelines
import SwanSystem

/// The fields of a new job, before it is known which model makes it.
struct JobFields: Decodable {
    private enum Key: String, CodingKey, CaseIterable {
        case prompt, model, seconds, size, fps, maxFrames = "max_frames", promptAt = "prompt_at"
        case controlScale = "control_scale", settings
        case input = "input_reference", lastImage = "last_image", control, mask, references
    }

    /// A file in JSON: `{"image_url": "data:…"}`.
    struct Reference: Decodable {
        let role: JobRequest.Role
        let bytes: Data

        private enum Key: String, CodingKey, CaseIterable {
            case url = "image_url", file = "file_id"
        }

        init(_ role: JobRequest.Role, from decoder: any Decoder) throws {
            self.role = role
            try decoder.requireKnownKeys(Key.self)
            let values = try decoder.container(keyedBy: Key.self)
            guard let url = try values.decodeIfPresent(String.self, forKey: .url) else {
                throw Self.refused("Send the file itself, or {\"image_url\": \"data:…\"}.", role)
            }
            guard url.hasPrefix("data:") else {
                throw Self.refused(
                    "The server loads nothing from other places: use a data URL.",
                    role
                )
            }
            guard let comma = url.firstIndex(of: ","), url[..<comma].hasSuffix(";base64"),
                let bytes = Data(base64Encoded: String(url[comma...].dropFirst()))
            else {
                throw Self.refused(
                    "The data URL must contain Base64: data:image/png;base64,…",
                    role
                )
            }
            self.bytes = bytes
        }

        init(from decoder: any Decoder) throws { try self.init(.reference, from: decoder) }

        private static func refused(_ message: String, _ role: JobRequest.Role) -> APIError {
            APIError(.badRequest, "url_not_allowed", message, parameter: role.rawValue)
        }
    }

    /// More frames than any input has.
    private static let mostFrames = Int(Int32.max)

    let prompt: String
    let model: String?
    let seconds: Double?
    let size: JobRequest.Size?
    let frameRate: Double?
    let maxFrames: Int?
    let laterPrompts: [JobRequest.LaterPrompt]
    let controlScale: Double?
    let references: [Reference]
    private let settings: (any Decoder)?

    /// Whether the size is given, and would be given twice if the settings had one too.
    init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        try decoder.requireKnownParameters(Key.self)
        prompt = try values.decode(String.self, forKey: .prompt)
        model = try values.decodeIfPresent(String.self, forKey: .model)
        seconds = try values.decodeIfPresent(Seconds.self, forKey: .seconds)?.value
        size = try values.decodeIfPresent(String.self, forKey: .size).map {
            guard let size = JobRequest.Size($0) else {
                throw APIError.invalid("size", "must be WIDTHxHEIGHT in pixels, such as 832x480")
            }
            return size
        }
        frameRate = try values.decodeIfPresent(.fps, in: 0.1...120)
        maxFrames = try values.decodeIfPresent(.maxFrames, in: 1...Self.mostFrames)
        laterPrompts =
            try Self.withNumbers("prompt_at") {
                try values.decodeIfPresent([JobRequest.LaterPrompt].self, forKey: .promptAt)
            } ?? []
        controlScale = try values.decodeIfPresent(.controlScale, in: 0...10)
        settings = values.contains(.settings) ? try values.superDecoder(forKey: .settings) : nil
        var references: [Reference] = []
        for (key, role) in [
            (Key.input, JobRequest.Role.input), (.lastImage, .lastImage), (.control, .control),
            (.mask, .mask),
        ] where try values.contains(key) && !values.decodeNil(forKey: key) {
            references.append(try Reference(role, from: values.superDecoder(forKey: key)))
        }
        references += try values.decodeIfPresent([Reference].self, forKey: .references) ?? []
        self.references = references
    }

    /// Decodes fields; the errors are for clients.
    init(json: Data) throws {
        do {
            self = try JSONDecoder().decode(Self.self, from: json)
        } catch let error as DecodingError {
            throw APIError(error)
        }
    }

    /// The settings as those of a kind of job.
    func settings<Settings: Decodable>(or initial: Settings) throws -> Settings {
        guard let settings else { return initial }
        return try Self.withNumbers("settings") {
            do {
                return try Settings(from: settings)
            } catch let error as DecodingError {
                throw APIError(error)
            }
        }
    }

    /// Decodes a structure with numbers. `JSONDecoder` throws errors of a private type for those that
    /// do not fit.
    private static func withNumbers<Value>(
        _ parameter: String,
        _ decode: () throws -> Value
    ) throws -> Value {
        do {
            return try decode()
        } catch let error as APIError {
            throw error
        } catch let error as DecodingError {
            throw error
        } catch {
            throw APIError.invalid(
                parameter,
                "contains a number that is out of range or not whole"
            )
        }
    }

    /// A number of seconds: `4` or `"4"`.
    private struct Seconds: Decodable {
        let value: Double

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let value = try? container.decode(Double.self) {
                self.value = value
            } else if let value = Double(try container.decode(String.self)) {
                self.value = value
            } else {
                throw APIError.invalid("seconds", "must be a number of seconds")
            }
        }
    }
}

extension Decoder {
    /// Throws for a parameter that is none of the keys.
    func requireKnownParameters<Keys: CodingKey & CaseIterable>(_ keys: Keys.Type) throws {
        let known = Keys.allCases.map(\.stringValue)
        let found = try container(keyedBy: AnyCodingKey.self).allKeys.map(\.stringValue)
        guard let key = found.sorted().first(where: { !known.contains($0) }) else { return }
        throw APIError(
            .badRequest,
            "unknown_parameter",
            "There is no parameter of this name; known are: \(known.joined(separator: ", ")).",
            parameter: key.printable(limit: 80)
        )
    }
}

extension APIError {
    /// A parameter with a wrong value.
    static func invalid(_ parameter: String, _ problem: String) -> APIError {
        APIError(.badRequest, "invalid_value", "\(parameter): \(problem)", parameter: parameter)
    }

    /// What is wrong with JSON from a client.
    init(_ error: DecodingError) {
        let message = MessageError(error)
        let isText = message.parameter == nil
        self.init(
            .badRequest,
            isText ? "invalid_json" : message.code,
            isText ? "The body must be a JSON object." : message.message,
            parameter: message.parameter
        )
    }
}
