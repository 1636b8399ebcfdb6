/// What a drawn scene can consist of. Each kind of word has a few values with exact answers.
///
/// Values are told apart by construction: hues by the direction of their difference from a
/// backdrop, forms by their moments, headings and paces by the path of the centroid.

/// The color of a moving thing.
package enum Hue: String, CaseIterable, Sendable {
    case red, green, blue, yellow, purple, cyan

    /// Red, green and blue in [0, 1].
    var color: [Double] {
        switch self {
        case .red: [0.90, 0.10, 0.10]
        case .green: [0.10, 0.75, 0.20]
        case .blue: [0.15, 0.30, 0.95]
        case .yellow: [0.95, 0.90, 0.10]
        case .purple: [0.75, 0.15, 0.85]
        case .cyan: [0.10, 0.85, 0.90]
        }
    }

    /// The words for it, the usual one first.
    var words: [String] {
        switch self {
        case .purple: ["purple", "violet"]
        case .cyan: ["cyan", "turquoise"]
        default: [rawValue]
        }
    }
}

/// The shape of a moving thing.
package enum Form: String, CaseIterable, Sendable {
    case ball, square, triangle, ring

    /// How far it extends from its centroid, relative to the radius of a ball of its size.
    var reach: Double {
        switch self {
        case .ball: 1
        case .square: 0.886
        case .triangle: 1.4
        case .ring: 1.15
        }
    }

    /// The words for it, the usual one first.
    var words: [String] {
        switch self {
        case .ball: ["ball", "disc"]
        case .square: ["square", "box"]
        case .triangle: ["triangle"]
        case .ring: ["ring", "hoop"]
        }
    }
}

/// The direction of a motion.
package enum Heading: String, CaseIterable, Sendable {
    case left, right, up, down

    /// The unit vector in the image, y downward.
    var vector: (x: Double, y: Double) {
        switch self {
        case .left: (-1, 0)
        case .right: (1, 0)
        case .up: (0, -1)
        case .down: (0, 1)
        }
    }

    /// The words for it, the usual one first.
    var words: [String] {
        switch self {
        case .left: ["left", "to the left"]
        case .right: ["right", "to the right"]
        case .up: ["up", "upwards"]
        case .down: ["down", "downwards"]
        }
    }
}

/// The speed of a motion.
package enum Pace: String, CaseIterable, Sendable {
    case slow, fast

    /// The range of speeds, in 64ths of the image's height per frame.
    var speeds: ClosedRange<Double> {
        switch self {
        case .slow: 0.5...0.65
        case .fast: 1.45...1.6
        }
    }

    /// The speed that separates the two.
    static let limit = 1.0

    /// The words for it, the usual one first.
    var words: [String] {
        switch self {
        case .slow: ["slowly", "gently"]
        case .fast: ["fast", "quickly"]
        }
    }
}

/// What is behind the moving things: one color.
package enum Backdrop: String, CaseIterable, Sendable {
    case black, white, gray, navy, brown

    /// Red, green and blue in [0, 1].
    var color: [Double] {
        switch self {
        case .black: [0.04, 0.04, 0.04]
        case .white: [0.94, 0.94, 0.94]
        case .gray: [0.50, 0.50, 0.50]
        case .navy: [0.06, 0.08, 0.32]
        case .brown: [0.40, 0.24, 0.12]
        }
    }

    /// The words for it, the usual one first.
    var words: [String] {
        switch self {
        case .navy: ["navy", "dark blue"]
        default: [rawValue]
        }
    }
}
