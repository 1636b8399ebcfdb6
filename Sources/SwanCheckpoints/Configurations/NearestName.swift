/// The name that a misspelled one was probably meant to be; nil if none is near.
///
/// Case and the signs between words do not count. The beginning or another part of a longer name is near it
/// (`--negative` to `--negative-prompt`, `wan-tiny` to `tiny`).
package func nearestName(to name: String, in known: some Sequence<String>) -> String? {
    let said = folded(name)
    // Longer ones are no misspellings, and comparing them takes time.
    guard !said.isEmpty, said.utf8.count <= 64 else { return nil }
    let limit = min(max(3, said.count / 4), (said.count + 1) / 2)
    let near = known.filter { $0.utf8.count <= 256 }
        .map { ($0, distance(said, folded($0))) }
        .min { $0.1 < $1.1 }
    guard let (best, distance) = near, distance <= limit else { return nil }
    return best
}

/// The words to add to an error about an unknown name: `; did you mean 'prompt'?`, or nothing if no known one is
/// near.
package func suggestion(for name: String, in known: some Sequence<String>) -> String {
    nearestName(to: name, in: known).map { "; did you mean '\($0)'?" } ?? ""
}

/// The words of a name in lower case, with a space between them.
private func folded(_ name: String) -> String {
    name.lowercased().split { !$0.isLetter && !$0.isNumber }.joined(separator: " ")
}

/// The edit distance, or that between parts of the names if one of them is a part of the other.
private func distance(_ said: String, _ known: String) -> Int {
    let whole = editDistance(said, known)
    // A part must say enough, and is less near than the name itself.
    guard said.count >= 4, known.count >= 4 else { return whole }
    let starts = known.hasPrefix(said) ? 1 : Int.max
    let ofSaid = said.split(separator: " ").map { editDistance(String($0), known) + 1 }
    let ofKnown = known.split(separator: " ").map { editDistance(said, String($0)) + 1 }
    let parts = (ofSaid.count > 1 ? ofSaid : []) + (ofKnown.count > 1 ? ofKnown : [])
    let part = parts.min() ?? .max
    // Only a part with at most one mistake.
    return min(whole, starts, part <= 2 ? part : .max)
}
