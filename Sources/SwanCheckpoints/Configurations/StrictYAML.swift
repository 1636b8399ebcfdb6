import CYaml
import SwanSystem
package import Yams

/// Reads YAML from untrusted sources.
///
/// Yams builds whatever a text describes: nested aliases, whose size doubles with each line, or unlimited
/// nesting exhaust time and memory. A first pass over the parser's events, which builds nothing, rejects
/// what no configuration needs.
package enum StrictYAML {
    /// The reason why a text was rejected.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    private static let longest = 1 << 20
    private static let deepest = 32
    private static let mostNodes = 20_000

    /// Parses a text with a single document; returns nil if it is empty. Duplicate keys are an error.
    package static func compose(_ text: String) throws(Failure) -> Node? {
        try check(text)
        do {
            return try Yams.compose(yaml: text)
        } catch {
            throw Failure(description: "not YAML: \(quoted("\(error)"))")
        }
    }

    /// The keys of a text with a mapping of values that are no mappings; none if the text is empty.
    package static func flatKeys(_ text: String) throws(Failure) -> [String] {
        guard let node = try compose(text), node.null == nil else { return [] }
        guard let mapping = node.mapping else {
            throw Failure(description: "must have keys with values, such as 'port: 7860'")
        }
        for (key, value) in mapping where value.mapping != nil {
            let name = (key.string ?? "").printable(limit: 80)
            throw Failure(description: "\(name) must be a value or a list, without keys of its own")
        }
        return mapping.keys.map { $0.string ?? "" }
    }

    /// The keys of a text with a mapping, and those of the mappings in it, whose values are none; none if the text
    /// is empty.
    package static func keys(
        _ text: String
    ) throws(Failure) -> [(name: String, inner: [String]?)] {
        guard let node = try compose(text), node.null == nil else { return [] }
        guard let mapping = node.mapping else {
            throw Failure(description: "must have keys with values, such as 'device: cpu'")
        }
        var keys: [(name: String, inner: [String]?)] = []
        for (key, value) in mapping {
            let name = key.string ?? ""
            for (innerKey, inner) in value.mapping ?? [:] where inner.mapping != nil {
                let both = "\(name).\(innerKey.string ?? "")".printable(limit: 80)
                throw Failure(description: "\(both) must be a value or a list")
            }
            keys.append((name, value.mapping?.keys.map { $0.string ?? "" }))
        }
        return keys
    }

    /// The parser's message, which quotes lines of the text: indented, so that none looks like a message.
    private static func quoted(_ words: String) -> String {
        let lines = words.split(separator: "\n", omittingEmptySubsequences: false)
        return lines.map { String($0).printable(limit: 400) }.joined(separator: "\n    ")
    }

    private static func check(_ text: String) throws(Failure) {
        guard text.utf8.count <= longest else {
            throw Failure(description: "larger than \(longest) bytes")
        }
        var text = text
        let result = text.withUTF8 { bytes in
            Result { () throws(Failure) in try check(bytes) }
        }
        try result.get()
    }

    private static func check(_ bytes: UnsafeBufferPointer<UInt8>) throws(Failure) {
        var parser = yaml_parser_t()
        guard yaml_parser_initialize(&parser) == 1 else {
            throw Failure(description: "out of memory for the YAML parser")
        }
        defer { yaml_parser_delete(&parser) }
        yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(&parser, bytes.baseAddress, bytes.count)
        var shape = Shape()
        while true {
            var event = yaml_event_t()
            // Yams reports invalid YAML, with the line.
            guard yaml_parser_parse(&parser, &event) == 1 else { return }
            defer { yaml_event_delete(&event) }
            let line = event.start_mark.line + 1
            if let fault = shape.fault(event) {
                throw Failure(description: "line \(line): \(fault)")
            }
            if event.type == YAML_STREAM_END_EVENT { return }
        }
    }

    /// The position in a document and its size so far, counted with all aliases expanded.
    private struct Shape {
        private struct Collection {
            let isMapping: Bool
            let anchor: String?
            /// The number of values before it.
            let before: Int
            /// Whether the next value is a key of a mapping.
            var isKeyNext: Bool
            /// The nesting depth of the collections inside it.
            var height = 0
        }

        private var open: [Collection] = []
        private var nodes = 0
        private var anchors: [String: (nodes: Int, height: Int)] = [:]

        /// Returns the reason to reject the next event; nil to accept it.
        mutating func fault(_ event: yaml_event_t) -> String? {
            switch event.type {
            case YAML_ALIAS_EVENT:
                // Yams reports an unknown alias.
                guard let anchor = Self.name(event.data.alias.anchor),
                    let value = anchors[anchor]
                else { return nil }
                return add(value.nodes, height: value.height, isWord: false)
            case YAML_SCALAR_EVENT:
                if let anchor = Self.name(event.data.scalar.anchor) { anchors[anchor] = (1, 0) }
                return Self.fault(scalar: event) ?? add(1, height: 0, isWord: true)
            case YAML_SEQUENCE_START_EVENT:
                return begin(Self.name(event.data.sequence_start.anchor), isMapping: false)
            case YAML_MAPPING_START_EVENT:
                return begin(Self.name(event.data.mapping_start.anchor), isMapping: true)
            case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT:
                end()
                return nil
            default: return nil
            }
        }

        private mutating func begin(_ anchor: String?, isMapping: Bool) -> String? {
            if let fault = add(1, height: 1, isWord: false) { return fault }
            open.append(
                Collection(
                    isMapping: isMapping,
                    anchor: anchor,
                    before: nodes - 1,
                    isKeyNext: isMapping
                )
            )
            return nil
        }

        private mutating func end() {
            guard let closed = open.popLast() else { return }
            let height = closed.height + 1
            if let anchor = closed.anchor { anchors[anchor] = (nodes - closed.before, height) }
            guard let last = open.indices.last else { return }
            open[last].height = max(open[last].height, height)
        }

        private mutating func add(_ count: Int, height: Int, isWord: Bool) -> String? {
            nodes += count
            guard nodes <= StrictYAML.mostNodes else { return "too many values" }
            guard open.count + height <= StrictYAML.deepest else { return "nested too deeply" }
            guard let last = open.indices.last else { return nil }
            open[last].height = max(open[last].height, height)
            guard open[last].isMapping else { return nil }
            guard isWord || !open[last].isKeyNext else { return "a key must be a scalar" }
            open[last].isKeyNext.toggle()
            return nil
        }

        private static func name(_ text: UnsafeMutablePointer<yaml_char_t>?) -> String? {
            text.map { String(cString: $0) }
        }

        /// YAML 1.1 reads 1:30 as a number in base 60, which Yams does without a limit.
        private static func fault(scalar event: yaml_event_t) -> String? {
            let scalar = event.data.scalar
            guard scalar.style == YAML_PLAIN_SCALAR_STYLE, let value = scalar.value else {
                return nil
            }
            let bytes = UnsafeBufferPointer(start: value, count: scalar.length)
            let isNumber = bytes.allSatisfy { "0123456789:_.+-".utf8.contains($0) }
            guard isNumber, bytes.contains(UInt8(ascii: ":")) else { return nil }
            return "numbers in base 60 (1:30) are not supported"
        }
    }
}
