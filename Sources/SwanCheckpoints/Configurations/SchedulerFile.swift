import Foundation
import SwanSystem

/// The values of a `scheduler_config.json`.
///
/// Python's `json` writes numbers that are not finite as `-Infinity`, `Infinity` and `NaN`, which
/// JSON does not have but JSON5 does.
struct SchedulerFile {
    let path: String
    private let values: [String: Value]

    /// Any value.
    enum Value: Decodable, Equatable {
        case null
        case truth(Bool)
        case number(Double)
        case text(String)
        case list([Value])
        case object([String: Value])

        init(from decoder: any Decoder) throws {
            let value = try decoder.singleValueContainer()
            if value.decodeNil() {
                self = .null
            } else if let truth = try? value.decode(Bool.self) {
                self = .truth(truth)
            } else if let number = try? value.decode(Double.self) {
                self = .number(number)
            } else if let text = try? value.decode(String.self) {
                self = .text(text)
            } else if let list = try? value.decode([Value].self) {
                self = .list(list)
            } else {
                self = .object(try value.decode([String: Value].self))
            }
        }

        /// The value as the file has it.
        var description: String {
            switch self {
            case .null: "null"
            case .truth(let truth): "\(truth)"
            case .number(let number):
                Int(exactly: number).map { "\($0)" } ?? "\(number)"
            case .text(let text): "'\(text.printable(limit: 100))'"
            case .list(let list):
                "[" + list.prefix(8).map(\.description).joined(separator: ", ")
                    + (list.count > 8 ? ", …]" : "]")
            case .object: "an object"
            }
        }

        /// Whether the value asks for nothing, as the defaults of new settings do.
        var isOff: Bool {
            switch self {
            case .null, .truth(false): true
            case .list(let list): list.isEmpty
            default: false
            }
        }
    }

    init(_ path: String) throws(SwanError) {
        self.path = path
        let decoder = JSONDecoder()
        decoder.allowsJSON5 = true
        do {
            values = try decoder.decode([String: Value].self, from: SmallFile.data(path))
        } catch let error as SwanError {
            throw error.as(.invalidModel)
        } catch {
            throw SwanError(
                .invalidModel,
                "\(path): is no JSON object; it may be cut off, so download it again",
                cause: error
            )
        }
    }

    /// The keys, without those that describe the file.
    var keys: [String] { values.keys.filter { !$0.hasPrefix("_") }.sorted() }

    /// The value of a key; nil if it is missing or null.
    subscript(key: String) -> Value? { values[key].flatMap { $0 == .null ? nil : $0 } }

    /// An error about the value of a key.
    func invalid(_ key: String, _ right: String) -> SwanError {
        let value = values[key]?.description ?? "missing"
        return SwanError(.invalidModel, "\(path): \(key) is \(value); \(right)")
    }

    /// Yes or no; nil if it is missing.
    func truth(_ key: String) throws(SwanError) -> Bool? {
        switch self[key] {
        case nil: return nil
        case .truth(let truth): return truth
        default: throw invalid(key, "it must be true or false")
        }
    }

    /// A number in a range; nil if it is missing.
    func number(_ key: String, in range: ClosedRange<Double>) throws(SwanError) -> Double? {
        switch self[key] {
        case nil: return nil
        case .number(let number) where range.contains(number): return number
        default: throw invalid(key, "it must be \(range.lowerBound) to \(range.upperBound)")
        }
    }

    /// An integer in a range; nil if it is missing.
    func whole(_ key: String, in range: ClosedRange<Int>) throws(SwanError) -> Int? {
        guard let value = self[key] else { return nil }
        guard case .number(let number) = value, let whole = Int(exactly: number),
            range.contains(whole)
        else {
            throw invalid(
                key,
                "it must be an integer from \(range.lowerBound) to \(range.upperBound)"
            )
        }
        return whole
    }

    /// Numbers within a range; nil if they are missing.
    func numbers(_ key: String, in range: ClosedRange<Double>) throws(SwanError) -> [Double]? {
        guard let value = self[key] else { return nil }
        let right =
            "it must be a list of up to \(NumberLimits.list.upperBound) numbers from "
            + "\(range.lowerBound) to \(range.upperBound)"
        guard case .list(let list) = value, list.count <= NumberLimits.list.upperBound else {
            throw invalid(key, right)
        }
        let numbers = list.compactMap { entry -> Double? in
            guard case .number(let number) = entry, range.contains(number) else { return nil }
            return number
        }
        guard numbers.count == list.count else { throw invalid(key, right) }
        return numbers
    }

    /// What one of several words stands for; nil if it is missing.
    func word<Meaning>(
        _ key: String,
        _ words: KeyValuePairs<String, Meaning>
    ) throws(SwanError) -> Meaning? {
        guard let value = self[key] else { return nil }
        guard case .text(let text) = value, let found = words.first(where: { $0.key == text })
        else {
            let known = words.map { "'\($0.key)'" }.joined(separator: ", ")
            throw invalid(
                key,
                words.count == 1 ? "it must be \(known)" : "it must be one of \(known)"
            )
        }
        return found.value
    }
}
