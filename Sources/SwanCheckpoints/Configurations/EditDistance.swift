/// The number of substitutions, insertions, deletions and swaps of adjacent letters that turn one text
/// into the other (the restricted Damerau-Levenshtein distance, which edits each position at most once).
package func editDistance(_ a: String, _ b: String) -> Int {
    let (a, b) = (Array(a), Array(b))
    var older: [Int] = []
    var old: [Int] = []
    var row = Array(0...b.count)
    for i in a.indices {
        (older, old) = (old, row)
        row[0] = i + 1
        for j in b.indices {
            row[j + 1] = min(old[j] + (a[i] == b[j] ? 0 : 1), old[j + 1] + 1, row[j] + 1)
            guard i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] else { continue }
            row[j + 1] = min(row[j + 1], older[j - 1] + 1)
        }
    }
    return row[b.count]
}
