/// Replaces HTML character references by their characters.
enum HTMLEntities {
    /// Unescapes like Python's `html.unescape` and browsers: the final semicolon is optional for
    /// numbers and for older names.
    static func unescaping(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        guard text.contains("&") else { return text }
        var result: [Unicode.Scalar] = []
        result.reserveCapacity(text.count)
        var index = 0
        while index < text.count {
            if text[index] == "&", let found = reference(in: text[(index + 1)...]) {
                result += found.replacement
                index = found.end
            } else {
                result.append(text[index])
                index += 1
            }
        }
        return result
    }

    /// Unescapes like ftfy: only complete references with a semicolon, and also uppercase names
    /// such as `&EACUTE;`, if they are not names themselves.
    static func unescapingStrictly(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        guard text.contains("&") else { return text }
        var source = text
        var result: [Unicode.Scalar] = []
        result.reserveCapacity(text.count)
        var index = 0
        while index < source.count {
            guard source[index] == "&", let semicolon = strictEnd(in: source, after: index),
                let replacement = strictReplacement(source[(index + 1)..<semicolon])
            else {
                result.append(source[index])
                index += 1
                continue
            }
            if replacement == ["&"], let next = strictEnd(in: source, after: semicolon),
                strictReplacement(source[(semicolon + 1)..<next]) == ["&"]
            {
                // Each round of repairs removes one layer of "&amp;amp;amp;". Remove all but the
                // last at once, so that hostile text cannot cause thousands of rounds.
                source[semicolon] = "&"
                index = semicolon
            } else {
                result += replacement
                index = semicolon + 1
            }
        }
        return result
    }

    // MARK: Lenient references

    /// The reference in `rest`, the text after an ampersand: its replacement and its end.
    private static func reference(
        in rest: ArraySlice<Unicode.Scalar>,
    ) -> (replacement: [Unicode.Scalar], end: Int)? {
        rest.first == "#" ? numericReference(in: rest) : namedReference(in: rest)
    }

    private static func numericReference(
        in rest: ArraySlice<Unicode.Scalar>,
    ) -> (replacement: [Unicode.Scalar], end: Int)? {
        var digits = rest.dropFirst()
        var radix: UInt32 = 10
        if digits.first == "x" || digits.first == "X" {
            digits = digits.dropFirst()
            radix = 16
        }
        digits = digits.prefix { digit(of: $0, radix: radix) != nil }
        guard !digits.isEmpty else { return nil }
        var value: UInt32 = 0
        for scalar in digits {
            // All values beyond the last scalar are equivalent, so limit the number.
            value = min(value * radix + (digit(of: scalar, radix: radix) ?? 0), 0x11_0000)
        }
        let hasSemicolon = rest[digits.endIndex...].first == ";"
        return (scalars(of: value), digits.endIndex + (hasSemicolon ? 1 : 0))
    }

    private static func digit(of scalar: Unicode.Scalar, radix: UInt32) -> UInt32? {
        switch scalar {
        case "0"..."9": scalar.value - 0x30
        case "a"..."f" where radix == 16: scalar.value - 0x61 + 10
        case "A"..."F" where radix == 16: scalar.value - 0x41 + 10
        default: nil
        }
    }

    /// The scalars for a number, as in browsers: 80 to 9F are Windows-1252, noncharacters are
    /// dropped, and invalid scalars become U+FFFD.
    private static func scalars(of value: UInt32) -> [Unicode.Scalar] {
        switch value {
        case 0x00: return ["\u{FFFD}"]
        case 0x80...0x9F: return [CodePage.windows1252.scalars[Int(value)]]
        case 0x01...0x08, 0x0B, 0x0E...0x1F, 0x7F, 0xFDD0...0xFDEF: return []
        case _ where value & 0xFFFE == 0xFFFE && value <= 0x10_FFFF: return []
        default: return [Unicode.Scalar(value) ?? "\u{FFFD}"]
        }
    }

    private static func namedReference(
        in rest: ArraySlice<Unicode.Scalar>,
    ) -> (replacement: [Unicode.Scalar], end: Int)? {
        let name = String(rest.prefix(maxNameLength).prefix(while: isNameScalar))
        let after = rest.startIndex + name.unicodeScalars.count
        // Try the whole word with its semicolon, then shorter and shorter prefixes without one.
        if rest[after...].first == ";", let found = table[name] {
            return (found.scalars, after + 1)
        }
        for length in stride(from: name.unicodeScalars.count, through: 2, by: -1) {
            let prefix = String(name.unicodeScalars.prefix(length))
            if let found = table[prefix], found.mayLackSemicolon {
                return (found.scalars, rest.startIndex + length)
            }
        }
        return nil
    }

    private static let maxNameLength = 32

    private static func isNameScalar(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "a"..."z", "A"..."Z", "0"..."9": true
        default: false
        }
    }

    // MARK: Strict references

    /// The index of the semicolon of the reference whose ampersand is at `ampersand`.
    private static func strictEnd(in text: [Unicode.Scalar], after ampersand: Int) -> Int? {
        var body = text[(ampersand + 1)...]
        if body.first == "#" { body = body.dropFirst() }
        let name = body.prefix(25).prefix(while: isNameScalar)
        guard (1...24).contains(name.count), text[name.endIndex...].first == ";" else {
            return nil
        }
        return name.endIndex
    }

    /// The replacement for `body`, the text between ampersand and semicolon.
    private static func strictReplacement(
        _ body: ArraySlice<Unicode.Scalar>,
    ) -> [Unicode.Scalar]? {
        if body.first == "#" {
            guard let found = numericReference(in: body), found.end == body.endIndex,
                found.replacement != [";"]
            else { return nil }
            return found.replacement
        }
        let name = String(body)
        if let found = table[name] { return found.scalars }
        let small = name.lowercased()
        guard name == name.uppercased(), let found = table[small],
            namedReference(in: body) == nil
        else { return nil }
        return found.scalars.flatMap { Array($0.properties.uppercaseMapping.unicodeScalars) }
    }

    // MARK: The table

    private struct Entity: Sendable {
        let scalars: [Unicode.Scalar]
        let mayLackSemicolon: Bool
    }

    /// The entities of HTML 5 by name, without ampersand and semicolon.
    private static let table: [String: Entity] = {
        var table: [String: Entity] = [:]
        for entry in htmlEntityTable.split(whereSeparator: { $0 == " " || $0 == "\n" }) {
            guard let mark = entry.firstIndex(where: { $0 == "=" || $0 == "~" }) else { continue }
            let codes = entry[entry.index(after: mark)...].split(separator: "+")
            table[String(entry[..<mark])] = Entity(
                scalars: codes.compactMap { UInt32($0, radix: 16).flatMap(Unicode.Scalar.init) },
                mayLackSemicolon: entry[mark] == "~"
            )
        }
        return table
    }()
}
