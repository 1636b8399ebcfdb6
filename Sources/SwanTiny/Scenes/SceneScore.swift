/// How many clips showed what they should, by kind of word and of scene.
package struct SceneScore: Sendable, CustomStringConvertible {
    private var met: [String: Int] = [:]
    private var asked: [String: Int] = [:]

    /// Creates an empty score.
    package init() {}

    /// Adds the verdict on a clip.
    package mutating func add(_ verdict: SceneMeasure.Verdict, _ kind: DrawnScene.Kind) {
        for (name, holds) in [
            ("met", verdict.isMet), ("backdrop", verdict.backdrop), ("hue", verdict.hue),
            ("form", verdict.form), ("heading", verdict.heading), ("pace", verdict.pace),
            ("kind_\(kind)", verdict.isMet),
        ] {
            asked[name, default: 0] += 1
            if holds { met[name, default: 0] += 1 }
        }
    }

    /// The share of clips for each name: `met` for whole prompts, the kinds of words, and whole
    /// prompts by kind of scene.
    package var figures: [String: Double] {
        asked.reduce(into: [:]) { $0[$1.key] = Double(met[$1.key] ?? 0) / Double($1.value) }
    }

    /// The number of clips.
    package var count: Int { asked["met"] ?? 0 }

    package var description: String {
        let shares = figures.sorted { $0.key < $1.key }
            .map { "\($0.key) \(Int(($0.value * 100).rounded())) %" }
        return "\(count) held-out prompts: " + shares.joined(separator: ", ")
    }
}
