import SwanCheckpoints
import SwanSystem
import SwanTraining
import Yams

extension Recipe {
    /// Reads a recipe; a key that is missing, unknown or of the wrong kind is an error that names it.
    public init(contentsOf path: String) throws {
        let text: String
        do {
            text = try SmallFile.text(path)
        } catch {
            guard error.code != .noSuchFile else {
                throw SwanError(.noSuchFile, "\(path): no such recipe")
            }
            throw SwanError(.invalidRecipe, error.message)
        }
        do {
            try self.init(yaml: text)
        } catch let error as SwanError {
            throw SwanError(error.code, "\(path): \(error.message)")
        }
    }

    /// Reads a recipe from its text.
    public init(yaml text: String) throws {
        let given: Node
        do {
            guard let node = try StrictYAML.compose(text) else {
                throw SwanError(.invalidRecipe, "has nothing in it")
            }
            given = node
            self = try YAMLDecoder().decode(Recipe.self, from: given)
        } catch let error as StrictYAML.Failure {
            throw SwanError(.invalidRecipe, error.description)
        } catch let error as DecodingError {
            throw SwanError(.invalidRecipe, Self.words(for: error).printable(limit: 1_000))
        }
        let written = try YAMLEncoder().encode(self)
        guard let known = try Yams.compose(yaml: written) else { return }
        let unknown = Self.unknownKeys(of: given, known: known, path: "")
        guard unknown.isEmpty else {
            throw SwanError(
                .invalidRecipe,
                "unknown keys: "
                    + unknown.sorted().map { $0.printable() }.joined(separator: ", ")
            )
        }
        try check()
    }

    /// The recipe as text; reading it again gives the same recipe.
    public func yaml() throws -> String {
        let text = try YAMLEncoder().encode(self)
        guard let node = try Yams.compose(yaml: text) else { return text }
        return try Yams.serialize(node: Self.plain(node), width: -1)
    }

    /// The same with numbers as people write them: 0.001, where the encoder writes 1e-3.
    private static func plain(_ node: Node) -> Node {
        switch node {
        case .mapping(let mapping):
            let pairs = mapping.map { ($0.key, plain($0.value)) }
            return .mapping(.init(pairs, mapping.tag, mapping.style))
        case .sequence(let sequence):
            return .sequence(.init(sequence.map(plain), sequence.tag, sequence.style))
        case .scalar(let scalar):
            guard node.tag == Tag(.float), let number = Double(scalar.string) else { return node }
            // YAML 1.1 takes a power of ten for a number only behind a point.
            let text = "\(number)".replacing(/^(-?\d+)e/) { "\($0.1).0e" }
            return .scalar(.init(text, scalar.tag, scalar.style))
        case .alias: return node
        }
    }

    /// Keys that are in `given` and not in `known`, which has every key that means something.
    private static func unknownKeys(of given: Node, known: Node, path: String) -> [String] {
        switch (given, known) {
        case (.mapping(let given), .mapping(let known)):
            return given.flatMap { key, value -> [String] in
                let name = key.string ?? "?"
                let full = path.isEmpty ? name : path + "." + name
                // `null` asks for nothing.
                guard value.null == nil else { return [] }
                guard let other = known[key] else { return [full] }
                return unknownKeys(of: value, known: other, path: full)
            }
        case (.sequence(let given), .sequence(let known)):
            return zip(given, known).enumerated().flatMap { index, pair in
                unknownKeys(of: pair.0, known: pair.1, path: "\(path)[\(index)]")
            }
        default: return []
        }
    }

    private static func words(for error: DecodingError) -> String {
        func path(_ context: DecodingError.Context, _ last: (any CodingKey)? = nil) -> String {
            (context.codingPath + (last.map { [$0] } ?? [])).map(\.stringValue)
                .joined(separator: ".")
        }
        switch error {
        case .keyNotFound(let key, let context): return "\(path(context, key)) is missing"
        case .valueNotFound(_, let context): return "\(path(context)) has no value"
        case .typeMismatch(let type, let context):
            return "\(path(context)) should be \(type): \(context.debugDescription)"
        case .dataCorrupted(let context):
            let place = path(context)
            return (place.isEmpty ? "" : place + ": ") + context.debugDescription
        @unknown default: return "\(error)"
        }
    }
}
