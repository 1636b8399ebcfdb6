/// A clip described exactly: things that move over a backdrop, in one shot or two.
///
/// Positions and lengths are in 64ths of the image's height, as is the speed per frame.
package struct DrawnScene: Sendable, Equatable {
    /// The side of the image in its own units.
    static let side = 64.0

    /// How a scene is composed.
    package enum Kind: String, CaseIterable, Sendable {
        /// One thing moves.
        case one
        /// Two things of different hues move at the same time, apart from each other.
        case two
        /// One thing moves, then the scene changes to another one.
        case change
    }

    /// A thing that moves along a straight line.
    package struct Mover: Sendable, Equatable {
        package var hue: Hue
        package var form: Form
        package var heading: Heading
        package var pace: Pace
        /// The radius of a ball of its area.
        var radius: Double
        /// The distance it moves in a frame.
        var speed: Double
        /// Where its centroid is in the first frame of its shot.
        var start: (x: Double, y: Double) = (0, 0)

        /// How far it extends from its centroid.
        var reach: Double { radius * form.reach }

        /// Where its centroid is `frame` frames after the start of its shot.
        func place(_ frame: Int) -> (x: Double, y: Double) {
            let way = speed * Double(frame)
            return (start.x + heading.vector.x * way, start.y + heading.vector.y * way)
        }

        /// Whether its combination of hue, form and heading is kept from training.
        ///
        /// A fifth of all combinations is; every two of the words do occur together in others.
        package var isHeldOut: Bool {
            guard let hue = Hue.allCases.firstIndex(of: hue),
                let form = Form.allCases.firstIndex(of: form),
                let heading = Heading.allCases.firstIndex(of: heading)
            else { return false }
            return (hue + form + heading).isMultiple(of: 5)
        }

        package static func == (a: Mover, b: Mover) -> Bool {
            a.hue == b.hue && a.form == b.form && a.heading == b.heading && a.pace == b.pace
                && a.radius == b.radius && a.speed == b.speed && a.start == b.start
        }
    }

    /// A part of the clip without a cut.
    package struct Shot: Sendable, Equatable {
        package var backdrop: Backdrop
        package var movers: [Mover]
        /// The frames of the clip that show it.
        var frames: Range<Int>
    }

    /// One shot, or two if the scene changes.
    package var shots: [Shot]

    /// How the scene is composed.
    package var kind: Kind {
        shots.count > 1 ? .change : (shots.first?.movers.count ?? 1) > 1 ? .two : .one
    }

    /// Whether it contains a combination that is kept from training.
    package var isHeldOut: Bool { shots.contains { $0.movers.contains(where: \.isHeldOut) } }

    /// The frame in which a scene of `frames` frames (at least 9) changes: where the latter half of
    /// its latent frames begins, the first of which stands for one frame and the others for four.
    static func cut(frames: Int) -> Int { ((frames - 1) / 4 + 1) / 2 * 4 - 3 }
}
