import SwanTiny

/// The prompts that request a style in measurements: its name alone, in a sentence, and as a request.
///
/// The sentences around the phrasings are not used in training. Their word "camera" also occurs in the
/// phrasings of thermal, and in two of the training scenes.
enum QualityPrompts {
    /// Returns the prompts for a style. Those for "no change" include a look that no model here knows.
    static func prompts(for style: Style) -> [String] {
        let phrasings = style.phrasings
        guard !style.changesNothing, !phrasings.isEmpty else {
            return ["no change", "two friends on their way home", "a bauhaus poster, zxqv 42"]
        }
        func phrasing(_ index: Int) -> String { phrasings[index % phrasings.count] }
        return [
            phrasing(0),
            "two friends on their way home on a windy day, \(phrasing(1))",
            "Everything the camera sees here as \(phrasing(2)), please",
        ]
    }

    /// Spreads prompts evenly over a stream of `count` frames; returns them by the frame at
    /// which each begins.
    static func spread(_ prompts: [String], over count: Int) -> [Int: String] {
        var places: [Int: String] = [:]
        for (index, prompt) in prompts.enumerated() {
            places[index * count / prompts.count] = prompt
        }
        return places
    }
}
