import SwanSystem
import SwanTraining
import Yams

extension Recipe {
    /// The keys that may change when a run is resumed. No weight depends on them, except that
    /// `threads` and `parallel` affect the last bits.
    static let changeable: Set = ["checkpoints", "parallel", "samples", "stream", "threads"]
}

extension RecipeText {
    /// Throws an error that names the first key whose value differs from the recipe that a run
    /// began with.
    ///
    /// - Parameter place: The file with the original recipe, for the message.
    func requireSame(as begun: Self, in place: String) throws {
        guard let now = try Yams.compose(yaml: text()),
            let before = try Yams.compose(yaml: begun.text()),
            let difference = Self.difference(now, before, path: "")
        else { return }
        throw SwanError(
            .invalidRecipe,
            "\(difference.key.printable()) is \(difference.now), the run began with "
                + "\(difference.before): continue with the recipe in \(place), or train into "
                + "another folder (keys that may change: "
                + "\(Self.changeable.sorted().joined(separator: ", ")))"
        )
    }

    /// Returns the first difference in the order of the keys.
    private static func difference(_ now: Node?, _ before: Node?, path: String) -> RecipeDifference?
    {
        switch (now, before) {
        case (.mapping(let new), .mapping(let old)):
            var keys = new.map(\.key)
            keys += old.map(\.key).filter { !keys.contains($0) }
            for key in keys {
                let name = key.string ?? "?"
                guard !path.isEmpty || !changeable.contains(name) else { continue }
                let full = path.isEmpty ? name : path + "." + name
                if let found = difference(new[key], old[key], path: full) { return found }
            }
            return nil
        case (.sequence(let new), .sequence(let old)) where new.count == old.count:
            for (index, pair) in zip(new, old).enumerated() {
                if let found = difference(pair.0, pair.1, path: "\(path)[\(index)]") {
                    return found
                }
            }
            return nil
        default:
            guard now != before else { return nil }
            return RecipeDifference(key: path, now: words(for: now), before: words(for: before))
        }
    }

    private static func words(for node: Node?) -> String {
        switch node {
        case nil: "not given"
        case .scalar(let scalar): scalar.string.printable()
        case .sequence(let list): "a list of \(list.count)"
        default: "a value of another type"
        }
    }
}

/// A key whose values differ.
private struct RecipeDifference {
    let key: String
    let now, before: String
}
