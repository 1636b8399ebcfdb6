import Foundation

/// What a job would do, for `--dry-run`: facts in order, each with a name.
package struct JobOutline: Sendable, Encodable {
    /// The value of a fact.
    package enum Value: Sendable, Encodable, CustomStringConvertible {
        case text(String)
        case whole(Int)
        case seed(UInt64)
        case number(Double)
        case list([String])
        case numbers([Int])
        case flag(Bool)
        /// It cannot be known before the job runs, for a reason.
        case unknown(String)

        package var description: String {
            switch self {
            case .text(let text): text
            case .whole(let number): "\(number)"
            case .seed(let number): "\(number)"
            case .number(let number): String(format: "%.6g", number)
            case .list(let items): items.joined(separator: ", ")
            case .numbers(let numbers): numbers.map(String.init).joined(separator: ", ")
            case .flag(let holds): holds ? "yes" : "no"
            case .unknown(let reason): "unknown: \(reason)"
            }
        }

        package func encode(to encoder: any Encoder) throws {
            var value = encoder.singleValueContainer()
            switch self {
            case .text(let text): try value.encode(text)
            case .whole(let number): try value.encode(number)
            case .seed(let number): try value.encode(number)
            case .numbers(let numbers): try value.encode(numbers)
            case .number(let number): try value.encode(number)
            case .list(let items): try value.encode(items)
            case .flag(let holds): try value.encode(holds)
            case .unknown: try value.encodeNil()
            }
        }
    }

    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    private var facts: [(name: String, value: Value, shown: String?)] = []

    /// Creates an outline without facts.
    package init() {}

    /// Adds a fact.
    ///
    /// - Parameters:
    ///   - name: The key in JSON, with underscores.
    ///   - shown: The value for people, if it differs.
    package mutating func add(_ name: String, _ value: Value, shown: String? = nil) {
        facts.append((name, value, shown))
    }

    /// Adds a text if there is one.
    package mutating func add(_ name: String, _ text: String?) {
        if let text { add(name, .text(text)) }
    }

    /// Adds where a training writes, and whether it would continue one.
    package mutating func add(run path: String, resume: Bool, begunBy name: String) {
        let isBegun = FileManager.default.fileExists(atPath: path + "/" + name)
        add("output", path)
        add("continues", .flag(resume && isBegun))
    }

    /// Adds a number of bytes.
    package mutating func add(_ name: String, bytes: Int) {
        let size =
            bytes >= 1_000_000_000
            ? "\((bytes + 50_000_000) / 100_000_000)".tenths + " GB"
            : "\((bytes + 999_999) / 1_000_000) MB"
        add(name, .whole(bytes), shown: size)
    }

    /// The facts as lines for people, without lists that are empty.
    package var lines: [String] {
        let shown = facts.flatMap { fact -> [(name: String, text: String)] in
            // Notes are sentences.
            if fact.name == "notes", case .list(let notes) = fact.value {
                return notes.map { ("note", $0) }
            }
            let text = fact.shown ?? fact.value.description
            let units = ["_bytes", "_seconds"]
            let unit = units.first { fact.name.hasSuffix($0) } ?? ""
            let name = fact.name.dropLast(unit.count).replacing("_", with: " ")
            return text.isEmpty ? [] : [(String(name), text)]
        }
        let width = shown.map(\.name.count).max() ?? 0
        return shown.map { name, text in
            name + String(repeating: " ", count: width - name.count + 2) + text
        }
    }

    /// Encodes the facts as the values of an object.
    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: Key.self)
        for fact in facts { try values.encode(fact.value, forKey: Key(stringValue: fact.name)) }
    }
}

extension String {
    /// Digits with a point before the last one.
    fileprivate var tenths: String {
        count > 1 ? String(dropLast()) + "." + String(suffix(1)) : "0." + self
    }
}
