/// SLURM's compressed lists.
enum SlurmList {
    /// The first host of a list such as `node[03-07,09],login`.
    static func firstHost(_ list: String) -> String? {
        guard let bracket = list.firstIndex(of: "["),
            list.firstIndex(of: ",").map({ bracket < $0 }) ?? true,
            let end = list[bracket...].firstIndex(of: "]")
        else {
            return list.split(separator: ",").first.map(String.init)
        }
        let numbers = list[list.index(after: bracket)..<end]
        guard let first = numbers.split(whereSeparator: { $0 == "-" || $0 == "," }).first else {
            return nil
        }
        let suffix = list[list.index(after: end)...].prefix { $0 != "," }
        return list[..<bracket] + String(first) + suffix
    }

    /// The numbers of a list such as `4(x2),3`: 4, 4, 3.
    static func repeated(_ list: String) -> [Int] {
        list.split(separator: ",").flatMap { part -> [Int] in
            let pieces = part.split(separator: "(")
            guard let number = pieces.first.flatMap({ Int($0) }) else { return [] }
            let times = pieces.dropFirst().first.flatMap { Int($0.dropFirst().dropLast()) } ?? 1
            return Array(repeating: number, count: min(times, 100_000))
        }
    }
}

extension Array {
    /// The element at an index, if there is one.
    subscript(safe index: Int) -> Element? { indices.contains(index) ? self[index] : nil }
}
