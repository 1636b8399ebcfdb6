extension Style {
    /// The styles included with Swan, "no change" first.
    package static let bundled: [Style] = [
        .none, .sketch, .neon, .thermal, .night, .sepia, .comic, .pixelArt, .autumn,
    ]

    /// Returns the bundled style with a name; nil if there is none.
    package static func named(_ name: String) -> Style? { bundled.first { $0.name == name } }

    /// No change.
    package static let none = Style(name: "none", phrasings: [], filters: [])

    /// Pencil on paper.
    package static let sketch = Style(
        name: "sketch",
        phrasings: [
            "sketch", "pencil sketch", "pencil drawing", "hand-drawn sketch",
            "graphite drawing", "charcoal sketch", "drawn with a pencil",
            "black and white line drawing", "pencil on paper",
        ],
        filters: [.pencil],
        title: "pencil sketch",
        words: ["pencil"]
    )

    /// Glowing edges on black.
    package static let neon = Style(
        name: "neon",
        phrasings: [
            "neon", "neon edges", "glowing neon lines", "neon outlines",
            "neon light contours", "glowing edges on black", "cyberpunk neon lines",
            "neon lights", "glowing outlines",
        ],
        filters: [.outlines],
        title: "neon edges"
    )

    /// A thermal camera.
    package static let thermal = Style(
        name: "thermal",
        phrasings: [
            "thermal", "thermal camera", "thermal imaging", "heat map",
            "infrared heat vision", "predator vision", "thermal vision", "infrared camera",
            "heat camera",
        ],
        filters: [
            .blur(sigma: 1),
            .ramp([[0, 0, 0.2], [0.4, 0, 0.6], [0.85, 0.15, 0.35], [1, 0.6, 0], [1, 1, 0.8]]),
        ],
        title: "thermal camera",
        words: ["infrared"]
    )

    /// Blue moonlight.
    package static let night = Style(
        name: "night",
        phrasings: [
            "night", "at night", "night scene", "night time", "moonlight",
            "in the dark of night", "midnight blue", "by the light of the moon",
            "moonlit night",
        ],
        filters: [
            .saturation(0.4), .gamma(1.3),
            .matrix([[0.24, 0, 0, 0], [0, 0.4, 0, 0.02], [0, 0, 0.8, 0.09]]),
        ],
        title: "at night",
        words: ["midnight"]
    )

    /// An old brown photograph.
    package static let sepia = Style(
        name: "sepia",
        phrasings: [
            "sepia", "sepia tone", "old brown photograph", "vintage sepia photo",
            "antique photograph", "sepia photograph", "old photo", "faded brown photo",
        ],
        filters: [
            .matrix([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])
        ]
    )

    /// Bright, saturated colors with ink lines.
    package static let comic = Style(
        name: "comic",
        phrasings: [
            "comic", "comic book", "cartoon", "cel-shaded cartoon", "graphic novel",
            "comic strip", "cartoon drawing", "pop art", "comic book panel",
        ],
        filters: [.comic]
    )

    /// Large squares in a few colors.
    package static let pixelArt = Style(
        name: "pixel-art",
        phrasings: [
            "pixel art", "8-bit game", "retro video game", "pixelated", "big pixels",
            "8-bit pixels", "blocky pixels", "retro pixel graphics",
        ],
        filters: [.mosaic(8), .tones(5), .saturation(1.5)],
        words: ["pixel", "8-bit"]
    )

    /// Red and golden leaves.
    package static let autumn = Style(
        name: "autumn",
        phrasings: [
            "autumn", "autumn leaves", "in autumn", "fall foliage", "golden autumn",
            "fall colours", "red and golden leaves", "autumn colours", "october forest",
        ],
        filters: [.foliage],
        words: ["october"]
    )
}
