import SwanSystem
import Torch

/// A form's invariants: central moments of its area, independent of position and size.
///
/// The spread (mu20 + mu02) / m00^2 is Hu's first invariant (M.-K. Hu, 1962). Of the third and
/// fourth order, the parts that turn three and four times with the angle are used: they vanish for
/// round forms, the former for squares and the latter for equilateral triangles.
struct ShapeMoments: Sendable {
    let spread, three, four: Double

    /// The moments of ideal forms, drawn large.
    static let ideal = Result { () throws(SwanError) -> [Form: ShapeMoments] in
        var found: [Form: ShapeMoments] = [:]
        for form in Form.allCases {
            let mover = DrawnScene.Mover(
                hue: .red,
                form: form,
                heading: .left,
                pace: .slow,
                radius: 18,
                speed: 0,
                start: (32, 32)
            )
            let cover = try mover.cover(frames: 1, size: 256).squeezed(1)
            found[form] = try Track(cover).frames.first?.shape
        }
        return found
    }

    /// A spread above this is that of a ring, whose hole may be half filled.
    private static let mostSpread = 0.25

    /// How different two shapes are; between ideal forms, more than 1.
    func distance(_ other: ShapeMoments) -> Double {
        let a = (min(spread, Self.mostSpread) - min(other.spread, Self.mostSpread)) / 0.025
        let b = (three - other.three) / 0.04
        let c = (four - other.four) / 0.014
        return (a * a + b * b + c * c).squareRoot()
    }

    /// The middle one of each moment of several measurements; nil if there are none.
    static func median(_ all: [ShapeMoments]) -> ShapeMoments? {
        guard !all.isEmpty else { return nil }
        func middle(_ path: KeyPath<ShapeMoments, Double>) -> Double {
            all.map { $0[keyPath: path] }.sorted()[all.count / 2]
        }
        return ShapeMoments(spread: middle(\.spread), three: middle(\.three), four: middle(\.four))
    }
}

/// Where a thing is in each frame, and its shape there.
struct Track {
    /// A frame in which the thing is visible.
    struct Place {
        let frame: Int
        /// The area in pixels, and the centroid as fractions of the image.
        let area, x, y: Double
        let shape: ShapeMoments
    }

    /// The frames in which it is visible.
    let frames: [Place]

    /// Measures the coverage [T, H, W] of a thing in [0, 1].
    ///
    /// - Parameter leastArea: The area in pixels below which a thing is not visible.
    init(_ cover: Tensor, leastArea: Double = 12) throws(SwanError) {
        let (count, height, width) = (cover.size(0), cover.size(1), cover.size(2))
        func line(_ length: Int, _ shape: [Int]) throws(SwanError) -> Tensor {
            try Tensor((0..<length).map { Float($0) + 0.5 }, shape)
        }
        let x = try line(width, [1, 1, width])
        let y = try line(height, [1, height, 1])
        func total(_ values: Tensor) throws(SwanError) -> Tensor {
            try values.sum([1, 2], keepDim: true)
        }
        // Colors that an autoencoder has paled: all of the thing counts as covered, because moments
        // of the area depend on its level. Its level is that of its 40 most covered pixels.
        let most = try cover.flattened(from: 1).sorted(descending: true).values
            .narrowed(1, min(40, height * width - 1), 1).reshaped(count, 1, 1)
        let cover = try (cover / most.clamped(min: 0.3)).clamped(min: 0, max: 1)
        // What is far from the centroid is not the thing, but its powers would outweigh it.
        var near = cover
        for _ in 0..<2 {
            let area = try total(near).clamped(min: 1e-3)
            let dx = try x - total(near * x) / area
            let dy = try y - total(near * y) / area
            let reach = try (area * 1.1).squareRoot() + 1.5
            near = try cover * (dx * dx + dy * dy .<= reach * reach).to(.float32)
        }
        let area = try total(near).clamped(min: 1e-3)
        let (cx, cy) = (try total(near * x) / area, try total(near * y) / area)
        let (dx, dy) = (try x - cx, try y - cy)
        let (xx, yy) = (try dx * dx, try dy * dy)
        let second = try total(near * (xx + yy)) / area.pow(2)
        let cosine = try total(near * dx * (xx - yy * 3))
        let sine = try total(near * dy * (xx * 3 - yy))
        let third = try (cosine * cosine + sine * sine).squareRoot() / area.pow(2.5)
        let fourth = try total(near * (xx * xx - xx * yy * 6 + yy * yy)) / area.pow(3)
        let rows = try stacked([area, cx, cy, second, third, fourth])
            .reshaped(6, count).array(of: Double.self)
        frames = (0..<count).compactMap { frame in
            let values = (0..<6).map { rows[$0 * count + frame] }
            guard values[0] >= leastArea else { return nil }
            return Place(
                frame: frame,
                area: values[0],
                x: values[1] / Double(width),
                y: values[2] / Double(height),
                shape: ShapeMoments(spread: values[3], three: values[4], four: values[5])
            )
        }
    }

    /// The velocity of the centroid by least squares, in fractions of the image per frame; nil for
    /// fewer than three frames.
    var velocity: (x: Double, y: Double)? {
        guard frames.count >= 3 else { return nil }
        let count = Double(frames.count)
        let middle = frames.reduce(0) { $0 + Double($1.frame) } / count
        var (sum, x, y) = (0.0, 0.0, 0.0)
        for place in frames {
            let time = Double(place.frame) - middle
            sum += time * time
            x += time * place.x
            y += time * place.y
        }
        return (x / sum, y / sum)
    }

    /// The distance of the places from a straight path, as a root mean square in fractions of the
    /// image.
    var unevenness: Double {
        guard let velocity else { return .infinity }
        let count = Double(frames.count)
        let time = frames.reduce(0) { $0 + Double($1.frame) } / count
        let (x, y) = (
            frames.reduce(0) { $0 + $1.x } / count, frames.reduce(0) { $0 + $1.y } / count
        )
        let squares = frames.map { place in
            let passed = Double(place.frame) - time
            let dx = place.x - x - velocity.x * passed
            let dy = place.y - y - velocity.y * passed
            return dx * dx + dy * dy
        }
        return (squares.reduce(0, +) / count).squareRoot()
    }
}
