/// The rules by which a SentencePiece model normalizes text: of the sources that a text begins with,
/// the longest is replaced by its target.
///
/// They are a Darts-clone double array of sources, whose values are offsets of targets in a list of
/// zero-terminated strings. `ModelCheck` has checked them.
struct NormalizationRules: Sendable {
    private let units: [UInt32]
    private let targets: [UInt8]

    /// - Parameter table: The `precompiled_charsmap` of a model; empty for no rules.
    init(table: [UInt8]) {
        func word(_ start: Int) -> UInt32 {
            (0..<4).reduce(0) { $0 | UInt32(table[start + $1]) << (8 * $1) }
        }
        guard table.count >= 4 else {
            (units, targets) = ([], [])
            return
        }
        let size = min(Int(word(0)), table.count - 4)
        units = stride(from: 4, through: size, by: 4).map(word)
        targets = Array(table.dropFirst(4 + size))
    }

    /// The normalized text, with its spaces as they are.
    func normalized(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        guard !units.isEmpty else { return Array(bytes) }
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var index = bytes.startIndex
        while index < bytes.endIndex {
            if let (length, target) = longestRule(bytes[index...]) {
                result += targets[target...].prefix { $0 != 0 }
                index += length
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return result
    }

    /// The length of the longest source that `bytes` begin with, and the offset of its target.
    private func longestRule(_ bytes: ArraySlice<UInt8>) -> (length: Int, target: Int)? {
        func base(_ unit: UInt32) -> Int { Int((unit >> 10) << ((unit & 0x200) >> 6)) }
        var node = base(units[0])
        var found: (length: Int, target: Int)?
        for (count, byte) in bytes.enumerated() {
            node ^= Int(byte)
            guard node < units.count else { break }
            let unit = units[node]
            // The label of a unit is its byte.
            guard unit & 0x8000_00FF == UInt32(byte) else { break }
            node ^= base(unit)
            guard unit & 0x100 != 0, node < units.count else { continue }
            let target = Int(units[node] & 0x7FFF_FFFF)
            if target < targets.count { found = (count + 1, target) }
        }
        return found
    }
}
