import SwanTiny

/// How measuring asks for a style: bare, in a sentence, and as a request.
///
/// The sentences around the phrasings are none of those that training puts around them; their "camera"
/// is a word of thermal's, and of two of training's scenes.
enum QualityPrompts {
    /// Prompts for a style; those for "no change" have a look that no model here knows among them.
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

    /// The prompts of a stream of `count` frames, one after the other, each for as long: by the frame
    /// that they begin at.
    static func spread(_ prompts: [String], over count: Int) -> [Int: String] {
        var places: [Int: String] = [:]
        for (index, prompt) in prompts.enumerated() {
            places[index * count / prompts.count] = prompt
        }
        return places
    }
}
