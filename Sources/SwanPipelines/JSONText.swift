import Foundation

/// Values as JSON, for programs and for people who look.
public enum JSONText {
    /// The value with sorted keys, ending in a line break.
    public static func data(_ value: some Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(value) + Data("\n".utf8)
    }
}
