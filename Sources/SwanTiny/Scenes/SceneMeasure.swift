package import SwanSystem
package import Torch

/// Whether a clip shows what a prompt says, by classifiers that follow from how scenes are drawn:
/// nothing is learned.
///
/// Pixels belong to the hue in whose direction they differ from the backdrop. A form is the one
/// with the closest moments; heading and pace are those of the centroid's path.
package enum SceneMeasure {
    /// What a clip was asked for and does show, by kind of word.
    package struct Verdict: Sendable, Equatable {
        /// The backdrop of each shot, among all backdrops.
        package var backdrop = true
        /// The hues of the moving things: those that were asked for, and hardly any others.
        package var hue = true
        /// The form of each thing.
        package var form = true
        /// The direction of each motion.
        package var heading = true
        /// The speed of each motion.
        package var pace = true

        package init(
            backdrop: Bool = true,
            hue: Bool = true,
            form: Bool = true,
            heading: Bool = true,
            pace: Bool = true
        ) {
            (self.backdrop, self.hue, self.form) = (backdrop, hue, form)
            (self.heading, self.pace) = (heading, pace)
        }

        /// Whether the clip shows all that the prompt says.
        package var isMet: Bool { missing.isEmpty }

        /// The kinds of words that the clip does not show.
        package var missing: [String] {
            [
                ("backdrop", backdrop), ("hue", hue), ("form", form), ("heading", heading),
                ("pace", pace),
            ].filter { !$0.1 }.map(\.0)
        }
    }

    /// Judges a clip [T, 3, H, W] in [0, 1] by what was asked for.
    package static func verdict(_ clip: Tensor, _ claim: SceneClaim) throws(SwanError) -> Verdict {
        var verdict = Verdict()
        let frames = clip.size(0)
        let cut = DrawnScene.cut(frames: frames)
        for (number, shot) in claim.shots.enumerated() {
            // An autoencoder may mix the two frames at a cut.
            let range =
                claim.shots.count == 1 ? 0..<frames : number == 0 ? 0..<cut - 1 : cut + 1..<frames
            try judge(clip.sliced(0, range), shot, &verdict)
        }
        return verdict
    }

    /// Judges a picture [3, H, W] in [0, 1] by what was asked of the first shot, except motion.
    package static func verdict(
        onPicture picture: Tensor,
        _ claim: SceneClaim
    ) throws(SwanError) -> Verdict {
        var verdict = Verdict()
        guard let shot = claim.shots.first else { return verdict }
        try judge(picture.unsqueezed(0), shot, &verdict)
        (verdict.heading, verdict.pace) = (true, true)
        return verdict
    }

    private static func judge(
        _ clip: Tensor,
        _ shot: SceneClaim.Shot,
        _ verdict: inout Verdict
    ) throws(SwanError) {
        let (backdrop, share) = try backdrop(of: clip)
        if let asked = shot.backdrop, asked != backdrop { verdict.backdrop = false }
        // Without a backdrop there is nothing that moves in front of it.
        if share < leastBackdrop { verdict.backdrop = false }
        let covers = try HueCovers(clip, backdrop)
        if !covers.areOf(shot.movers.map(\.hue)) { verdict.hue = false }
        for mover in shot.movers {
            let track = try Track(covers.cover(mover.hue))
            let isVisible = Double(track.frames.count) >= leastVisible * Double(clip.size(0))
            let form = try isVisible ? form(of: track) : nil
            if form != mover.form { verdict.form = false }
            let motion = isVisible ? motion(of: track) : nil
            if motion?.heading != mover.heading { verdict.heading = false }
            if let pace = mover.pace, motion?.pace != pace { verdict.pace = false }
        }
    }

    /// The share of pixels that the backdrop has at least.
    private static let leastBackdrop = 0.6
    /// The share of frames in which a thing is visible at least.
    private static let leastVisible = 0.8
    /// The distance from an ideal form at which a shape is none.
    private static let largestFormDistance = 1.2
    /// How far a path may deviate from a straight line, in fractions of the image.
    private static let largestUnevenness = 0.04

    /// The backdrop that most pixels are close to, and their share.
    static func backdrop(of clip: Tensor) throws(SwanError) -> (Backdrop, share: Double) {
        var best = (Backdrop.black, share: -1.0)
        for backdrop in Backdrop.allCases {
            let color = try Tensor(backdrop.color.map(Float.init), [1, 3, 1, 1])
            let distance = try (clip - color).pow(2).sum([1]).squareRoot()
            let share = try (distance .< 0.12).to(.float32).mean().item()
            if share > best.share { best = (backdrop, share) }
        }
        return best
    }

    /// The form with the closest moments; nil if none is close.
    static func form(of track: Track) throws(SwanError) -> Form? {
        guard let shape = ShapeMoments.median(track.frames.map(\.shape)) else { return nil }
        let distances = try ShapeMoments.ideal.get().mapValues(shape.distance)
        guard let closest = distances.min(by: { $0.value < $1.value }),
            closest.value < largestFormDistance
        else { return nil }
        return closest.key
    }

    /// The heading and the pace of a path; nil if it is not straight, along no axis, or has no end
    /// in sight.
    static func motion(of track: Track) -> (heading: Heading, pace: Pace)? {
        guard let velocity = track.velocity, track.unevenness < largestUnevenness else {
            return nil
        }
        let (x, y) = (velocity.x * DrawnScene.side, velocity.y * DrawnScene.side)
        let speed = (x * x + y * y).squareRoot()
        // Within 30 degrees of an axis.
        let heading = Heading.allCases.first {
            x * $0.vector.x + y * $0.vector.y > 0.866 * speed
        }
        guard let heading, speed > 0.2 else { return nil }
        return (heading, speed < Pace.limit ? .slow : .fast)
    }
}

/// How much of each pixel each hue covers.
struct HueCovers {
    /// [hues, T, H, W].
    private let covers: Tensor
    private let areas: [Double]

    /// Divides the difference of a clip [T, 3, H, W] from its backdrop among the hues.
    init(_ clip: Tensor, _ backdrop: Backdrop) throws(SwanError) {
        let back = backdrop.color
        let ways = Hue.allCases.map { hue in zip(hue.color, back).map { $0 - $1 } }
        let lengths = ways.map { $0.reduce(0) { $0 + $1 * $1 }.squareRoot() }
        let units = zip(ways, lengths).flatMap { way, length in way.map { Float($0 / length) } }
        let count = Hue.allCases.count
        let difference = try clip - Tensor(back.map(Float.init), [1, 3, 1, 1])
        let (frames, height, width) = (clip.size(0), clip.size(2), clip.size(3))
        let along = try matmul(Tensor(units, [count, 3]), difference.flattened(from: 2))
            .reshaped(frames, count, height, width)  // [T, hues, H, W]
        let isClosest = try along.max([1], keepDim: true) .<= along
        let size = try difference.pow(2).sum([1], keepDim: true).squareRoot()
        let isThere = try size .> 0.15
        let share = try along / Tensor(lengths.map(Float.init), [1, count, 1, 1])
        covers = try
            (share.clamped(min: 0, max: 1) * isClosest.to(.float32)
            * isThere.to(.float32)).transposed(0, 1).contiguous()
        areas = try covers.sum([1, 2, 3]).array(of: Double.self)
    }

    /// The coverage by a hue: [T, H, W].
    func cover(_ hue: Hue) throws(SwanError) -> Tensor {
        try covers.selected(0, Hue.allCases.firstIndex(of: hue) ?? 0)
    }

    /// Whether the things have these hues: each a fair part of what is covered, others hardly any.
    func areOf(_ hues: [Hue]) -> Bool {
        let all = areas.reduce(0, +)
        let asked = hues.map { areas[Hue.allCases.firstIndex(of: $0) ?? 0] }
        return all > 0 && asked.reduce(0, +) > 0.8 * all
            && asked.allSatisfy { $0 > 0.5 / Double(hues.count + 1) * all }
    }
}
