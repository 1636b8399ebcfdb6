/// A key of any name, for containers whose keys are checked one by one.
package struct AnyCodingKey: CodingKey {
    package let stringValue: String
    package var intValue: Int? { nil }

    package init(stringValue: String) { self.stringValue = stringValue }
    package init?(intValue: Int) { nil }
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
