/// A JSON value. Objects keep their order and have no duplicate keys.
///
/// The headers of tensor files come from untrusted sources: unlike Foundation's parsers, this one
/// rejects duplicate keys and limits the nesting depth and the number of values, which take several
/// times the memory of their text.
package enum StrictJSON: Equatable, Sendable {
    case object([(key: String, value: StrictJSON)])
    case array([StrictJSON])
    case string(String)
    case integer(Int)
    /// A number that is not a 64-bit integer.
    case real(Double)
    case bool(Bool)
    case null

    /// The problem, and the byte where it occurred.
    package struct Failure: Error {
        package let what: String
        package let offset: Int
    }

    /// Reads one value, with nothing but whitespace after it.
    ///
    /// - Parameter limit: The maximum number of values, including those in arrays and objects.
    package static func read(
        _ bytes: UnsafeRawBufferPointer,
        atMost limit: Int = 1 << 20
    ) throws(Failure) -> StrictJSON {
        var reader = StrictJSONReader(bytes: bytes, limit)
        let value = try reader.value(depth: 0)
        try reader.end()
        return value
    }

    /// Reads an object one member at a time, so that its values are never all in memory.
    ///
    /// Duplicate keys are for the caller to detect.
    struct Members {
        private var reader: StrictJSONReader
        private let limit: Int
        private var isFirst = true

        /// - Parameter limit: The maximum number of values in a member.
        init(_ bytes: UnsafeRawBufferPointer, eachAtMost limit: Int) {
            reader = StrictJSONReader(bytes: bytes, limit)
            self.limit = limit
        }

        /// The next member; nil at the end of the object and of the text.
        mutating func next() throws(Failure) -> (key: String, value: StrictJSON)? {
            reader.valuesLeft = limit
            defer { isFirst = false }
            return try isFirst ? reader.firstMember() : reader.nextMember()
        }

        /// Creates a failure at the current position.
        func failure(_ what: String) -> Failure { reader.failure(what) }
    }

    package static func == (left: StrictJSON, right: StrictJSON) -> Bool {
        switch (left, right) {
        case (.object(let a), .object(let b)):
            a.count == b.count && zip(a, b).allSatisfy { $0.key == $1.key && $0.value == $1.value }
        case (.array(let a), .array(let b)): a == b
        case (.string(let a), .string(let b)): a == b
        case (.integer(let a), .integer(let b)): a == b
        case (.real(let a), .real(let b)): a == b
        case (.bool(let a), .bool(let b)): a == b
        case (.null, .null): true
        default: false
        }
    }

    /// A string in JSON syntax, with its quotes.
    package static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\u{0}"..."\u{1F}":
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

private struct StrictJSONReader {
    let bytes: UnsafeRawBufferPointer
    var offset = 0
    var valuesLeft: Int

    private static let deepest = 32

    init(bytes: UnsafeRawBufferPointer, _ limit: Int) {
        self.bytes = bytes
        valuesLeft = limit
    }

    func failure(_ what: String) -> StrictJSON.Failure { .init(what: what, offset: offset) }

    private var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

    mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
            offset += 1
        }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard next == UInt8(ascii: character) else { return false }
        offset += 1
        return true
    }

    private mutating func expect(_ character: Unicode.Scalar) throws(StrictJSON.Failure) {
        guard take(character) else { throw failure("expected \"\(character)\"") }
    }

    mutating func value(depth: Int) throws(StrictJSON.Failure) -> StrictJSON {
        guard depth < Self.deepest else { throw failure("nested too deeply") }
        valuesLeft -= 1
        guard valuesLeft >= 0 else { throw failure("more values than allowed") }
        skipSpace()
        guard let byte = next else { throw failure("ends too early") }
        switch Unicode.Scalar(byte) {
        case "{": return try object(depth: depth)
        case "[": return try array(depth: depth)
        case "\"": return .string(try string())
        case "t": return try word("true", .bool(true))
        case "f": return try word("false", .bool(false))
        case "n": return try word("null", .null)
        case "-", "0"..."9": return try number()
        default: throw failure("unexpected byte")
        }
    }

    private mutating func word(
        _ text: StaticString,
        _ value: StrictJSON
    ) throws(StrictJSON.Failure) -> StrictJSON {
        let end = offset + text.utf8CodeUnitCount
        guard end <= bytes.count,
            bytes[offset..<end].elementsEqual(text.description.utf8)
        else { throw failure("unexpected word") }
        offset = end
        return value
    }

    private mutating func object(depth: Int) throws(StrictJSON.Failure) -> StrictJSON {
        try expect("{")
        var members: [(key: String, value: StrictJSON)] = []
        var seen: Set<String> = []
        skipSpace()
        if take("}") { return .object([]) }
        repeat {
            let member = try member(depth: depth + 1)
            guard seen.insert(member.key).inserted else {
                throw failure("the key \(StrictJSON.quoted(member.key)) occurs twice")
            }
            members.append(member)
        } while take(",")
        try expect("}")
        return .object(members)
    }

    /// Reads a key and its value, with the whitespace around them.
    private mutating func member(
        depth: Int
    ) throws(StrictJSON.Failure) -> (key: String, value: StrictJSON) {
        skipSpace()
        let key = try string()
        skipSpace()
        try expect(":")
        let value = try value(depth: depth)
        skipSpace()
        return (key, value)
    }

    mutating func firstMember() throws(StrictJSON.Failure) -> (key: String, value: StrictJSON)? {
        skipSpace()
        try expect("{")
        skipSpace()
        guard take("}") else { return try member(depth: 1) }
        try end()
        return nil
    }

    mutating func nextMember() throws(StrictJSON.Failure) -> (key: String, value: StrictJSON)? {
        if take(",") { return try member(depth: 1) }
        try expect("}")
        try end()
        return nil
    }

    mutating func end() throws(StrictJSON.Failure) {
        skipSpace()
        guard offset == bytes.count else { throw failure("text after the end") }
    }

    private mutating func array(depth: Int) throws(StrictJSON.Failure) -> StrictJSON {
        try expect("[")
        var elements: [StrictJSON] = []
        skipSpace()
        if take("]") { return .array([]) }
        repeat {
            elements.append(try value(depth: depth + 1))
            skipSpace()
        } while take(",")
        try expect("]")
        return .array(elements)
    }

    private mutating func digits() throws(StrictJSON.Failure) {
        guard let first = next, (0x30...0x39).contains(first) else {
            throw failure("expected a digit")
        }
        while let byte = next, (0x30...0x39).contains(byte) { offset += 1 }
    }

    private mutating func number() throws(StrictJSON.Failure) -> StrictJSON {
        let start = offset
        _ = take("-")
        if !take("0") { try digits() }
        let whole = next.map { ![0x2E, 0x65, 0x45].contains($0) } ?? true
        if take(".") { try digits() }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            try digits()
        }
        let text = String(decoding: bytes[start..<offset], as: UTF8.self)
        if whole, let integer = Int(text) { return .integer(integer) }
        guard let real = Double(text) else { throw failure("not a number") }
        return .real(real)
    }

    private mutating func string() throws(StrictJSON.Failure) -> String {
        try expect("\"")
        var units: [UInt8] = []
        while let byte = next {
            offset += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let text = String(validating: units, as: UTF8.self) else {
                    throw failure("text is not UTF-8")
                }
                return text
            case UInt8(ascii: "\\"): units += try escaped()
            case 0..<0x20: throw failure("a control character in a string")
            default: units.append(byte)
            }
        }
        throw failure("an unterminated string")
    }

    private mutating func escaped() throws(StrictJSON.Failure) -> [UInt8] {
        guard let byte = next else { throw failure("an unterminated string") }
        offset += 1
        switch Unicode.Scalar(byte) {
        case "\"", "\\", "/": return [byte]
        case "b": return [0x08]
        case "f": return [0x0C]
        case "n": return [0x0A]
        case "r": return [0x0D]
        case "t": return [0x09]
        case "u": return Array(String(Character(try unicode())).utf8)
        default: throw failure("an unknown escape")
        }
    }

    private mutating func unicode() throws(StrictJSON.Failure) -> Unicode.Scalar {
        var code = try fourHexDigits()
        if (0xD800..<0xDC00).contains(code), take("\\"), take("u") {
            let low = try fourHexDigits()
            guard (0xDC00..<0xE000).contains(low) else { throw failure("an unpaired surrogate") }
            code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(code) else { throw failure("an unpaired surrogate") }
        return scalar
    }

    private mutating func fourHexDigits() throws(StrictJSON.Failure) -> UInt32 {
        guard offset + 4 <= bytes.count else { throw failure("an unterminated string") }
        let text = String(decoding: bytes[offset..<(offset + 4)], as: UTF8.self)
        guard text.allSatisfy(\.isHexDigit), let code = UInt32(text, radix: 16) else {
            throw failure("expected four hexadecimal digits")
        }
        offset += 4
        return code
    }
}
