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

extension KeyedDecodingContainer {
    /// Decodes a number in a range; nil if the key is missing or null.
    ///
    /// Numbers that the type cannot represent, such as 1e400 or 1.5, are errors that name the key,
    /// too: those of `JSONDecoder` are of a private type and name nothing.
    package func decodeIfPresent<Value: Decodable & Comparable>(
        _ key: Key,
        in range: ClosedRange<Value>,
        unit: String = ""
    ) throws -> Value? {
        do {
            guard let value = try decodeIfPresent(Value.self, forKey: key) else { return nil }
            if range.contains(value) { return value }
        } catch let error as DecodingError {
            guard case .dataCorrupted = error else { throw error }
        } catch {
            // Reported below.
        }
        let kind = range.lowerBound is any BinaryInteger ? "a whole number from " : ""
        throw DecodingError.dataCorruptedError(
            forKey: key,
            in: self,
            debugDescription: "must be \(kind)\(Self.words(range.lowerBound)) to "
                + "\(Self.words(range.upperBound))\(unit.isEmpty ? "" : " " + unit)"
        )
    }

    /// Decodes a number in a range; throws if the key is missing.
    package func decode<Value: Decodable & Comparable>(
        _ key: Key,
        in range: ClosedRange<Value>
    ) throws -> Value {
        guard let value = try decodeIfPresent(key, in: range) else {
            return try decode(Value.self, forKey: key)
        }
        return value
    }

    /// Decodes one of a few names; nil if the key is missing or null. The error for another name
    /// lists them.
    package func decodeChoiceIfPresent<Choice: RawRepresentable & CaseIterable>(
        _ key: Key
    ) throws -> Choice? where Choice.RawValue == String {
        guard let name = try decodeIfPresent(String.self, forKey: key) else { return nil }
        if let choice = Choice(rawValue: name) { return choice }
        let names = Choice.allCases.map(\.rawValue)
        throw DecodingError.dataCorruptedError(
            forKey: key,
            in: self,
            debugDescription: "must be " + names.dropLast().joined(separator: ", ")
                + (names.count > 1 ? " or " : "") + (names.last ?? "")
        )
    }

    private static func words(_ bound: some Comparable) -> String {
        guard let bound = bound as? Double, let whole = Int(exactly: bound) else {
            return "\(bound)"
        }
        return "\(whole)"
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
