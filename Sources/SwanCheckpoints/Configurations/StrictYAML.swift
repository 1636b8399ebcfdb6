import CYaml
import SwanSystem
package import Yams

/// Reads YAML from strangers.
///
/// Yams builds whatever a text asks for: aliases of aliases, which double with each line, or depth without
/// end take more time and memory than there is. A first pass over the events of the text, which builds
/// nothing, refuses what no configuration needs.
package enum StrictYAML {
    /// What was wrong.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    private static let longest = 1 << 20
    private static let deepest = 32
    private static let mostNodes = 20_000

    /// The one document of a text; nil for an empty one. No key stands twice in a mapping.
    package static func compose(_ text: String) throws(Failure) -> Node? {
        try check(text)
        do {
            return try Yams.compose(yaml: text)
        } catch {
            throw Failure(description: "not YAML: \(quoted("\(error)"))")
        }
    }

    /// The parser's words, which show lines of the text: indented, none passes for a message.
    private static func quoted(_ words: String) -> String {
        let lines = words.split(separator: "\n", omittingEmptySubsequences: false)
        return lines.map { String($0).printable(limit: 400) }.joined(separator: "\n    ")
    }

    private static func check(_ text: String) throws(Failure) {
        guard text.utf8.count <= longest else {
            throw Failure(description: "more than \(longest) bytes")
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
            throw Failure(description: "no memory for a parser")
        }
        defer { yaml_parser_delete(&parser) }
        yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(&parser, bytes.baseAddress, bytes.count)
        var shape = Shape()
        while true {
            var event = yaml_event_t()
            // What is no YAML at all is told by Yams, with the line.
            guard yaml_parser_parse(&parser, &event) == 1 else { return }
            defer { yaml_event_delete(&event) }
            let line = event.start_mark.line + 1
            if let fault = shape.fault(event) {
                throw Failure(description: "line \(line): \(fault)")
            }
            if event.type == YAML_STREAM_END_EVENT { return }
        }
    }

    /// Where in a document the events have come to, and what it is with all aliases written out.
    private struct Shape {
        private struct Collection {
            let isMapping: Bool
            let anchor: String?
            /// Values that there were before it.
            let before: Int
            /// Whether the next value is a mapping's key.
            var isKeyNext: Bool
            /// Collections in it, one inside the other.
            var height = 0
        }

        private var open: [Collection] = []
        private var nodes = 0
        private var anchors: [String: (nodes: Int, height: Int)] = [:]

        /// What is wrong with the next event; nil if nothing is.
        mutating func fault(_ event: yaml_event_t) -> String? {
            switch event.type {
            case YAML_ALIAS_EVENT:
                // One that is not known is told by Yams.
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
            guard nodes <= StrictYAML.mostNodes else { return "more values than belong here" }
            guard open.count + height <= StrictYAML.deepest else { return "nested too deep" }
            guard let last = open.indices.last else { return nil }
            open[last].height = max(open[last].height, height)
            guard open[last].isMapping else { return nil }
            guard isWord || !open[last].isKeyNext else { return "a key that is no word" }
            open[last].isKeyNext.toggle()
            return nil
        }

        private static func name(_ text: UnsafeMutablePointer<yaml_char_t>?) -> String? {
            text.map { String(cString: $0) }
        }

        /// YAML 1.1 takes 1:30 for a number in base 60, which Yams reads without a bound.
        private static func fault(scalar event: yaml_event_t) -> String? {
            let scalar = event.data.scalar
            guard scalar.style == YAML_PLAIN_SCALAR_STYLE, let value = scalar.value else {
                return nil
            }
            let bytes = UnsafeBufferPointer(start: value, count: scalar.length)
            let isNumber = bytes.allSatisfy { "0123456789:_.+-".utf8.contains($0) }
            guard isNumber, bytes.contains(UInt8(ascii: ":")) else { return nil }
            return "numbers in base 60 (1:30) are not read"
        }
    }
}
