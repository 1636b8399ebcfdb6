import SwanCheckpoints
package import SwanSystem
package import Torch

/// A look that a prompt can ask for: the phrases that name it, and the filters that define it
/// exactly.
///
/// In a recipe, a style is the name of a bundled one or a definition: `{name: cyanotype, phrasings:
/// [cyanotype, ...], filters: [{ramp: [[0, 0.1, 0.3], [1, 1, 1]]}]}`.
package struct Style: Sendable, Hashable {
    /// The unique name of the style.
    package let name: String
    /// Phrases that ask for it, without an article. Empty for the style that changes nothing.
    package let phrasings: [String]
    /// The filters, applied in order.
    package let filters: [PixelFilter]
    /// The title in a list of a model's looks; the first phrasing of a custom style.
    package let title: String
    /// Single words, besides the phrasings, that swan-tiny recognizes as this style in any sentence
    /// and that rarely mean anything else.
    package let words: [String]

    /// Creates a custom style.
    package init(
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

    /// Renders `frames` [T, 3, H, W] in [0, 1] in this style; the result has the same shape and
    /// range.
    package func callAsFunction(_ frames: Tensor) throws(SwanError) -> Tensor {
        try withoutGradients { () throws(SwanError) -> Tensor in
            var frames = frames
            for filter in filters { frames = try filter(frames) }
            return frames
        }
    }

    /// Whether the style leaves images unchanged.
    package var changesNothing: Bool { filters.isEmpty }
}

extension Style: CustomStringConvertible {
    /// The name.
    package var description: String { name }
}

extension Style: Codable {
    private enum CodingKeys: String, CodingKey, CaseIterable {
        case name, phrasings, filters
    }

    /// Decodes the name of a bundled style, or a definition.
    package init(from decoder: any Decoder) throws {
        let alone: String?
        do {
            alone = try decoder.singleValueContainer().decode(String.self)
        } catch is DecodingError {
            alone = nil
        }
        if let alone {
            guard let bundled = Style.named(alone) else {
                let names = Style.bundled.map(\.name)
                let hint = suggestion(for: alone, in: names)
                throw DecodingError.dataCorrupted(
                    .init(
                        codingPath: decoder.codingPath,
                        debugDescription: "unknown style '\(alone)'\(hint); the bundled ones are "
                            + names.joined(separator: ", ") + ";"
                            + " define others with name, phrasings and filters"
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

    /// Encodes the style in the format that `init(from:)` reads; a bundled style as its name.
    package func encode(to encoder: any Encoder) throws {
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
