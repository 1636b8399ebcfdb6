import SwanTraining

/// Writes claims as people would: other words for the same thing, in other orders.
package struct ScenePrompts: Sendable {
    private let seed: UInt64

    /// Creates a writer whose prompts depend only on the seed, the claim and an index.
    package init(seed: UInt64) { self.seed = seed }

    /// Returns prompt number `index` for a scene, and what it says.
    package func prompt(
        for scene: DrawnScene,
        index: UInt64
    ) -> (claim: SceneClaim, text: String) {
        var random = SampleRandom(seed: seed, index: index, purpose: .scenePrompt)
        let claim = SceneClaim(scene, leavingOut: &random)
        return (claim, text(of: claim, &random))
    }

    /// Returns `count` prompts for scenes of a sampler, to train a tokenizer on.
    func corpus(_ scenes: SceneSampler, count: Int) -> [String] {
        (0..<UInt64(count)).map { prompt(for: scenes.scene($0), index: $0).text }
    }

    private func text(of claim: SceneClaim, _ random: inout SampleRandom) -> String {
        let shots = claim.shots.map { shot($0, &random) }
        let joint = random.pick([", then ", " and then ", ". then ", ", cut to "])
        let text = random.pick(weights: [0.9, 0.1]) == 0 ? "" : random.pick(Self.openings)
        return written(text + shots.joined(separator: joint), &random)
    }

    private static let openings = ["a video of ", "a short clip: ", "animation, ", "we see "]

    private func shot(_ shot: SceneClaim.Shot, _ random: inout SampleRandom) -> String {
        let movers = shot.movers.map { mover($0, &random) }
        let text = movers.joined(separator: random.pick([" and ", " while ", ", and "]))
        guard let backdrop = shot.backdrop else { return text }
        let word = random.pick(backdrop.words)
        let place = random.pick([
            "on a \(word) background", "on \(word)", "in front of a \(word) wall",
            "over a \(word) background",
        ])
        return random.chance(0.25) ? "\(place), \(text)" : "\(text) \(place)"
    }

    private func mover(_ mover: SceneClaim.Mover, _ random: inout SampleRandom) -> String {
        let size = random.chance(0.05) ? random.pick(["little ", "shiny ", "nice "]) : ""
        let article = random.pick(weights: [0.85, 0.15]) == 0 ? "a" : "the"
        let thing =
            "\(article) \(size)\(random.pick(mover.hue.words)) \(random.pick(mover.form.words))"
        let rolls = mover.form == .ball || mover.form == .ring
        let verb = random.pick(
            ["moves", "goes", "slides", "flies", "moving", "going"] + (rolls ? ["rolls"] : [])
        )
        let heading = random.pick(mover.heading.words)
        guard let pace = mover.pace else { return "\(thing) \(verb) \(heading)" }
        let manner = random.pick(pace.words)
        return random.chance(0.35)
            ? "\(thing) \(manner) \(verb) \(heading)" : "\(thing) \(verb) \(heading) \(manner)"
    }

    /// Varies the capitalization and the end of a text.
    private func written(_ text: String, _ random: inout SampleRandom) -> String {
        let isUpper = random.pick(weights: [0.7, 0.3]) == 1
        let begun = isUpper ? text.prefix(1).uppercased() + text.dropFirst() : text
        return begun + (random.chance(0.2) ? "." : "")
    }
}
