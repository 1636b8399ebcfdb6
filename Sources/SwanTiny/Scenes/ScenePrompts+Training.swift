package import SwanSystem

extension ScenePrompts {
    /// The most prompts that can be asked for; there are many times as many.
    private static let most = 200_000

    /// Different prompts of scenes like those of training, for a student to learn from.
    ///
    /// - Throws: `invalidOption` for a count that is out of range.
    package static func forTraining(_ count: Int, seed: UInt64) throws(SwanError) -> [String] {
        try NumberLimits.require(
            count,
            in: 1...most,
            "the number of prompts",
            of: "data prompts",
            .invalidOption
        )
        // Prompts do not depend on the length of the clips.
        let scenes = SceneSampler(frames: 21, seed: seed)
        let writer = ScenePrompts(seed: seed)
        var found: [String] = []
        var seen: Set<String> = []
        var index: UInt64 = 0
        while found.count < count {
            let text = writer.prompt(for: scenes.scene(index), index: index).text
            if seen.insert(text).inserted { found.append(text) }
            index += 1
        }
        return found
    }
}
