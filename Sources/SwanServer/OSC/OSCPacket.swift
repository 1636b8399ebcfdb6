/// A message of Open Sound Control 1.0: an address and values.
package struct OSCMessage: Sendable, Equatable {
    /// A value of a message.
    package enum Value: Sendable, Equatable {
        case integer(Int64)
        case number(Double)
        case text(String)
        case flag(Bool)
        case blob([UInt8])
        /// Nil and Infinitum, which carry no value.
        case none
    }

    /// The address, which starts with `/`; it may be a pattern.
    package let address: String
    /// The values.
    package let values: [Value]

    /// Creates a message.
    package init(_ address: String, _ values: [Value] = []) {
        self.address = address
        self.values = values
    }

    /// The messages of a packet: one, or all those of a bundle and of the bundles in it.
    ///
    /// Time tags are ignored: every message is due when it arrives.
    ///
    /// - Throws: `OSCPacketError` for bytes that are not a packet; none of its messages counts then.
    package static func messages(
        in packet: some Collection<UInt8>
    ) throws(OSCPacketError) -> [OSCMessage] {
        var reader = OSCReader(Array(packet)[...])
        return try reader.packet(depth: 0)
    }
}

/// Why bytes are not a packet of Open Sound Control.
package enum OSCPacketError: Error, Sendable, Equatable {
    /// The bytes end inside a value, or their number is no multiple of four.
    case truncated
    /// Bytes behind the last value.
    case trailingBytes
    /// An address that does not start with `/`, or has characters that are not printable ASCII.
    case invalidAddress
    /// Type tags that do not start with a comma, or a type that OSC 1.0 does not have.
    case invalidTypes
    /// A text that is not UTF-8, or whose padding is not zero.
    case invalidText
    /// More than eight bundles inside one another.
    case tooDeep
}

/// Reads the parts of a packet; numbers are big-endian, and everything is padded to four bytes.
private struct OSCReader {
    private static let maxDepth = 8
    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    mutating func packet(depth: Int) throws(OSCPacketError) -> [OSCMessage] {
        guard rest.count.isMultiple(of: 4), !rest.isEmpty else { throw .truncated }
        guard rest.first == UInt8(ascii: "#") else { return [try message()] }
        guard depth < Self.maxDepth else { throw .tooDeep }
        guard try text() == "#bundle" else { throw .invalidAddress }
        // The time tag.
        _ = try take(8)
        var messages: [OSCMessage] = []
        while !rest.isEmpty {
            let count = Int(try number(UInt32.self))
            var element = OSCReader(try take(count))
            messages += try element.packet(depth: depth + 1)
        }
        return messages
    }

    private mutating func message() throws(OSCPacketError) -> OSCMessage {
        let address = try text()
        guard address.hasPrefix("/"), address.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw .invalidAddress
        }
        // Old senders leave out the types of messages without values.
        guard !rest.isEmpty else { return OSCMessage(address) }
        let types = try text()
        guard types.hasPrefix(",") else { throw .invalidTypes }
        var values: [OSCMessage.Value] = []
        for type in types.utf8.dropFirst() {
            if let value = try value(type) { values.append(value) }
        }
        guard rest.isEmpty else { throw .trailingBytes }
        return OSCMessage(address, values)
    }

    /// A value; nil for the brackets around arrays, whose values count as the message's own.
    private mutating func value(_ type: UInt8) throws(OSCPacketError) -> OSCMessage.Value? {
        switch Character(Unicode.Scalar(type)) {
        case "i": return .integer(Int64(Int32(bitPattern: try number(UInt32.self))))
        case "h": return .integer(Int64(bitPattern: try number(UInt64.self)))
        case "f": return .number(Double(Float(bitPattern: try number(UInt32.self))))
        case "d": return .number(Double(bitPattern: try number(UInt64.self)))
        case "s", "S": return .text(try text())
        case "b": return .blob(try blob())
        case "T": return .flag(true)
        case "F": return .flag(false)
        case "N", "I": return OSCMessage.Value.none
        case "[", "]": return nil
        default: throw .invalidTypes
        }
    }

    private mutating func blob() throws(OSCPacketError) -> [UInt8] {
        let count = Int(try number(UInt32.self))
        let bytes = Array(try take(count))
        _ = try take((4 - count % 4) % 4)
        return bytes
    }

    /// A text, its final zero and its padding.
    private mutating func text() throws(OSCPacketError) -> String {
        guard let end = rest.firstIndex(of: 0) else { throw .truncated }
        let count = end - rest.startIndex
        let bytes = try take(count)
        guard try take(4 - count % 4).allSatisfy({ $0 == 0 }),
            let text = String(validating: bytes, as: UTF8.self)
        else { throw .invalidText }
        return text
    }

    private mutating func number<Number: FixedWidthInteger>(
        _: Number.Type
    ) throws(OSCPacketError) -> Number {
        try take(Number.bitWidth / 8).reduce(0) { $0 << 8 | Number($1) }
    }

    private mutating func take(_ count: Int) throws(OSCPacketError) -> ArraySlice<UInt8> {
        guard count <= rest.count else { throw .truncated }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }
}
