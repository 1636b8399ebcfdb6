import Foundation
import SwanHTTP
import SwanSystem

/// Turns the fields of a form, which are all texts, into the JSON that a client would send otherwise.
///
/// Structures are JSON, or have a field for each member, as OpenAI's packages send them: `settings[steps]`,
/// `settings[timesteps][]`, `prompt_at[][frame]`.
enum FormFields {
    /// The keys whose values are texts, even if they look like numbers.
    private static let texts: Set<String> = [
        "prompt", "model", "seconds", "size", "image_url", "file_id", "negative_prompt", "fit",
        "solver", "schedule",
    ]
    private static let deepest = 4

    static func json(_ fields: [(name: String, value: String)]) throws -> Data {
        var root = Node.object([:])
        for (name, value) in fields {
            guard let path = path(name) else {
                throw APIError.invalid(name.printable(limit: 80), "is a malformed name")
            }
            let key = path.last { !$0.isEmpty } ?? ""
            let leaf = texts.contains(key) ? value : parsed(value) ?? value
            // A text where a structure is expected is reported when the JSON is decoded.
            guard root.insert(.leaf(leaf), at: path[...]) else {
                throw APIError.invalid(name.printable(limit: 80), "is given twice")
            }
        }
        // Sorted, so that equal forms have equal digests.
        return try JSONSerialization.data(withJSONObject: root.value, options: .sortedKeys)
    }

    /// `["settings", "timesteps", ""]` for `settings[timesteps][]`; nil if brackets do not match.
    private static func path(_ name: String) -> [String]? {
        let parts = name.split(separator: "[", omittingEmptySubsequences: false)
        guard let first = parts.first, !first.isEmpty, !first.contains("]"), parts.count <= deepest
        else { return nil }
        var path = [String(first)]
        for part in parts.dropFirst() {
            guard part.last == "]", !part.dropLast().contains("]") else { return nil }
            path.append(String(part.dropLast()))
        }
        return path
    }

    private static func parsed(_ text: String) -> Any? {
        try? JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed)
    }

    /// A structure that grows field by field.
    private enum Node {
        case leaf(Any)
        case object([String: Node])
        case array([Node])

        var value: Any {
            switch self {
            case .leaf(let value): value
            case .object(let members): members.mapValues(\.value)
            case .array(let items): items.map(\.value)
            }
        }

        /// Adds a leaf. Returns false if there is something at its place already.
        mutating func insert(_ leaf: Node, at path: ArraySlice<String>) -> Bool {
            guard let key = path.first else { return false }
            let rest = path.dropFirst()
            switch self {
            case .leaf:
                return false
            case .object(var members):
                guard !key.isEmpty else { return false }
                var member = members[key] ?? Self.empty(for: rest)
                guard members[key] == nil || !rest.isEmpty, member.place(leaf, rest) else {
                    return false
                }
                members[key] = member
                self = .object(members)
            case .array(var items):
                guard key.isEmpty else { return false }
                // A member that the last item has already begins the next item.
                if !rest.isEmpty, var last = items.last, last.insert(leaf, at: rest) {
                    items[items.count - 1] = last
                } else {
                    var item = Self.empty(for: rest)
                    guard item.place(leaf, rest) else { return false }
                    items.append(item)
                }
                self = .array(items)
            }
            return true
        }

        private mutating func place(_ leaf: Node, _ rest: ArraySlice<String>) -> Bool {
            guard rest.isEmpty else { return insert(leaf, at: rest) }
            self = leaf
            return true
        }

        private static func empty(for rest: ArraySlice<String>) -> Node {
            rest.first == "" ? .array([]) : .object([:])
        }
    }
}
