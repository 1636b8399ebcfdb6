public import SwanSystem
public import Torch

/// A look that a prompt asks for: how people call it, and the exact picture it is.
///
/// In a recipe a style stands as the name of a bundled one, or is written out:
/// `{name: cyanotype, phrasings: [cyanotype, ...], filters: [{ramp: [[0, 0.1, 0.3], [1, 1, 1]]}]}`.
public struct Style: Sendable, Hashable {
    /// The style's own name.
    public let name: String
    /// Ways to ask for it, without an article. Empty for the style that changes nothing.
    public let phrasings: [String]
    /// What happens to the pixels, one after the other.
    public let filters: [PixelFilter]
    /// What lists of a model's looks call it; the first phrasing of a style of one's own.
    public let title: String
    /// Single words that swan-tiny hears as this style in any sentence, besides the phrasings, and that
    /// hardly mean anything else.
    public let words: [String]

    /// A style of one's own.
    public init(
        name: String,
        phrasings: [String],
        filters: [PixelFilter],
        title: String? = nil,
        words: [String] = []
    ) {
        self.name = name
        self.phrasings = phrasings
        self.filters = filters
        self.title = title ?? phrasings.first ?? name
        self.words = words
    }

    /// `frames` [T, 3, H, W] in [0, 1] in this style: the same shape and range.
    public func callAsFunction(_ frames: Tensor) throws(SwanError) -> Tensor {
        try withoutGradients { () throws(SwanError) -> Tensor in
            var frames = frames
            for filter in filters { frames = try filter(frames) }
            return frames
        }
    }

    /// Whether it leaves pictures as they are.
    public var changesNothing: Bool { filters.isEmpty }
}

extension Style: CustomStringConvertible {
    /// The name.
    public var description: String { name }
}

extension Style: Codable {
    private enum CodingKeys: String, CodingKey, CaseIterable {
        case name, phrasings, filters
    }

    /// Reads a bundled style's name, or a style that is written out.
    public init(from decoder: any Decoder) throws {
        let alone: String?
        do {
            alone = try decoder.singleValueContainer().decode(String.self)
        } catch is DecodingError {
            alone = nil
        }
        if let alone {
            guard let bundled = Style.named(alone) else {
                let known = Style.bundled.map(\.name).joined(separator: ", ")
                throw DecodingError.dataCorrupted(
                    .init(
                        codingPath: decoder.codingPath,
                        debugDescription: "no style is called '\(alone)'; there are \(known),"
                            + " and any that is written out with name, phrasings and filters"
                    )
                )
            }
            self = bundled
            return
        }
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            name: try values.decode(String.self, forKey: .name),
            phrasings: try values.decode([String].self, forKey: .phrasings),
            filters: try values.decode([PixelFilter].self, forKey: .filters)
        )
        if let bundled = Style.named(name), bundled.phrasings == phrasings,
            bundled.filters == filters
        {
            self = bundled
            return
        }
        guard !name.isEmpty, !filters.isEmpty, !phrasings.isEmpty,
            !phrasings.contains(where: \.isEmpty)
        else {
            throw DecodingError.dataCorrupted(
                .init(
                    codingPath: decoder.codingPath,
                    debugDescription: "style '\(name)' needs a name, phrasings and filters"
                )
            )
        }
    }

    /// Writes the form that is read; a bundled style as its name.
    public func encode(to encoder: any Encoder) throws {
        if Style.named(name) == self {
            var value = encoder.singleValueContainer()
            try value.encode(name)
            return
        }
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(name, forKey: .name)
        try values.encode(phrasings, forKey: .phrasings)
        try values.encode(filters, forKey: .filters)
    }
}
