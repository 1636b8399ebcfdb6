import SwanSystem

extension PixelFilter: Codable {
    private enum Name: String, CodingKey, CaseIterable {
        case blur, saturation, gamma, matrix, ramp, tones, mosaic
        case pencil, outlines, comic, foliage
    }

    /// Decodes a name, or a name with parameters; errors describe what is wrong.
    package init(from decoder: any Decoder) throws {
        let alone: String?
        do {
            alone = try decoder.singleValueContainer().decode(String.self)
        } catch is DecodingError {
            alone = nil
        }
        self = try alone.map { try Self.named($0, decoder) } ?? Self.numbered(decoder)
    }

    private static func named(_ name: String, _ decoder: any Decoder) throws -> PixelFilter {
        switch Name(rawValue: name) {
        case .pencil: return .pencil
        case .outlines: return .outlines
        case .comic: return .comic
        case .foliage: return .foliage
        case nil: throw unknown(name, decoder)
        default: throw invalid("the filter '\(name)' needs numbers: {\(name): ...}", decoder)
        }
    }

    private static func numbered(_ decoder: any Decoder) throws -> PixelFilter {
        let values = try decoder.container(keyedBy: Name.self)
        let given = try decoder.container(keyedBy: AnyCodingKey.self).allKeys.map(\.stringValue)
        let names = given.sorted().joined(separator: ", ")
        guard given.count == 1 else {
            throw invalid("a filter must be one name with its numbers, not {\(names)}", decoder)
        }
        guard let key = values.allKeys.first else { throw unknown(names, decoder) }
        switch key {
        case .blur:
            let sigma = try values.decode(Double.self, forKey: key)
            guard (0.1...32).contains(sigma) else {
                throw invalid("blur is \(sigma); it must be from 0.1 to 32 pixels", decoder)
            }
            return .blur(sigma: sigma)
        case .saturation: return .saturation(try values.decode(Double.self, forKey: key))
        case .gamma:
            let exponent = try values.decode(Double.self, forKey: key)
            guard exponent > 0 else {
                throw invalid("gamma is \(exponent); it must be above 0", decoder)
            }
            return .gamma(exponent)
        case .matrix:
            let rows = try values.decode([[Double]].self, forKey: key)
            guard rows.count == 3, rows.allSatisfy({ (3...4).contains($0.count) }) else {
                throw invalid("matrix needs three rows of three or four numbers", decoder)
            }
            return .matrix(rows)
        case .ramp:
            let stops = try values.decode([[Double]].self, forKey: key)
            guard stops.count >= 2, stops.allSatisfy({ $0.count == 3 }) else {
                throw invalid("ramp needs two or more colors of three numbers", decoder)
            }
            return .ramp(stops)
        case .tones:
            let count = try values.decode(Int.self, forKey: key)
            guard count >= 1 else {
                throw invalid("tones is \(count); it must be at least 1", decoder)
            }
            return .tones(count)
        case .mosaic:
            let size = try values.decode(Int.self, forKey: key)
            guard (2...64).contains(size) else {
                throw invalid("mosaic is \(size); it must be from 2 to 64 pixels", decoder)
            }
            return .mosaic(size)
        case .pencil, .outlines, .comic, .foliage:
            throw invalid(
                "the filter '\(key.rawValue)' takes no numbers: use its name alone",
                decoder
            )
        }
    }

    /// Encodes the filter in the format that `init(from:)` reads.
    package func encode(to encoder: any Encoder) throws {
        switch self {
        case .blur(let sigma): try encode(.blur, sigma, encoder)
        case .saturation(let amount): try encode(.saturation, amount, encoder)
        case .gamma(let exponent): try encode(.gamma, exponent, encoder)
        case .matrix(let rows): try encode(.matrix, rows, encoder)
        case .ramp(let stops): try encode(.ramp, stops, encoder)
        case .tones(let count): try encode(.tones, count, encoder)
        case .mosaic(let size): try encode(.mosaic, size, encoder)
        case .pencil: try encode(.pencil, encoder)
        case .outlines: try encode(.outlines, encoder)
        case .comic: try encode(.comic, encoder)
        case .foliage: try encode(.foliage, encoder)
        }
    }

    private func encode(
        _ name: Name,
        _ numbers: some Encodable,
        _ encoder: any Encoder
    ) throws {
        var values = encoder.container(keyedBy: Name.self)
        try values.encode(numbers, forKey: name)
    }

    private func encode(_ name: Name, _ encoder: any Encoder) throws {
        var value = encoder.singleValueContainer()
        try value.encode(name.rawValue)
    }

    private static func unknown(_ name: String, _ decoder: any Decoder) -> DecodingError {
        let known = Name.allCases.map(\.rawValue).joined(separator: ", ")
        return invalid("unknown filter '\(name)'; the filters are \(known)", decoder)
    }

    private static func invalid(_ message: String, _ decoder: any Decoder) -> DecodingError {
        .dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: message))
    }
}
