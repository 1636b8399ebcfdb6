/// A key of any name, for containers whose keys are checked one by one.
package struct AnyCodingKey: CodingKey {
    package let stringValue: String
    package var intValue: Int? { nil }

    package init(stringValue: String) { self.stringValue = stringValue }
    package init?(intValue: Int) { nil }
}

extension Decoder {
    /// Throws if a keyed container has a key that is not one of `Keys`, naming it and what is known.
    package func requireKnownKeys<Keys: CodingKey & CaseIterable>(_ keys: Keys.Type) throws {
        let known = Keys.allCases.map(\.stringValue)
        let values = try container(keyedBy: AnyCodingKey.self)
        guard let key = values.allKeys.first(where: { !known.contains($0.stringValue) }) else {
            return
        }
        throw DecodingError.dataCorrupted(
            .init(
                codingPath: codingPath,
                debugDescription: "unknown key '\(key.stringValue.printable())'; known keys: "
                    + known.joined(separator: ", ")
            )
        )
    }
}

extension DecodingError {
    /// Where in the data the error is, and what is wrong there.
    package var context: Context? {
        switch self {
        case .dataCorrupted(let context), .typeMismatch(_, let context),
            .valueNotFound(_, let context), .keyNotFound(_, let context):
            context
        @unknown default: nil
        }
    }
}
