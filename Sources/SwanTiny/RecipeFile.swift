import SwanCheckpoints
import SwanSystem
import SwanTraining
import Yams

/// What a training run is told: a YAML file with known keys only, kept in the folder of the run.
protocol RecipeText: Codable, Equatable {
    /// The keys that may change when a run is resumed.
    static var changeable: Set<String> { get }
    /// The name of the model.
    var name: String { get }
    /// The seed of all random numbers.
    var seed: UInt64 { get }
    /// The license of the weights.
    var license: String { get }
    /// Throws `invalidRecipe` with the first value that cannot be.
    func check() throws
}

extension Recipe: RecipeText {
    /// Reads a recipe from a file; a missing, unknown or mistyped key is an error that names it.
    package init(contentsOf path: String) throws { self = try Self.read(path) }

    /// Parses a recipe.
    package init(yaml text: String) throws { self = try Self.parsed(text) }

    /// Returns the recipe as YAML; parsing it yields an equal recipe.
    package func yaml() throws -> String { try text() }
}

extension RecipeText {
    /// Reads a recipe from a file; a missing, unknown or mistyped key is an error that names it.
    static func read(_ path: String) throws -> Self {
        let text: String
        do {
            text = try SmallFile.text(path)
        } catch {
            guard error.code != .noSuchFile else {
                throw SwanError(.noSuchFile, "\(path): recipe not found")
            }
            throw SwanError(.invalidRecipe, error.message, cause: error)
        }
        do {
            return try parsed(text)
        } catch let error as SwanError {
            throw SwanError(error.code, "\(path): \(error.message)", cause: error)
        }
    }

    /// Parses a recipe.
    static func parsed(_ text: String) throws -> Self {
        let given: Node
        let recipe: Self
        do {
            guard let node = try StrictYAML.compose(text) else {
                throw SwanError(.invalidRecipe, "the recipe is empty")
            }
            given = node
            recipe = try YAMLDecoder().decode(Self.self, from: given)
        } catch let error as StrictYAML.Failure {
            throw SwanError(.invalidRecipe, error.description, cause: error)
        } catch let error as DecodingError {
            throw SwanError(
                .invalidRecipe,
                words(for: error).printable(limit: 1_000),
                cause: error
            )
        }
        let written = try YAMLEncoder().encode(recipe)
        if let known = try Yams.compose(yaml: written) {
            let unknown = unknownKeys(of: given, known: known, path: "")
            guard unknown.isEmpty else {
                throw SwanError(
                    .invalidRecipe,
                    "unknown keys: "
                        + unknown.sorted().joined(separator: ", ")
                )
            }
        }
        try recipe.check()
        return recipe
    }

    /// Returns the recipe as YAML; parsing it yields an equal recipe.
    func text() throws -> String {
        let text = try YAMLEncoder().encode(self)
        guard let node = try Yams.compose(yaml: text) else { return text }
        return try Yams.serialize(node: Self.plain(node), width: -1)
    }

    /// Returns the node with numbers in plain notation: 0.001 instead of the encoder's 1e-3.
    private static func plain(_ node: Node) -> Node {
        switch node {
        case .mapping(let mapping):
            let pairs = mapping.map { ($0.key, plain($0.value)) }
            return .mapping(.init(pairs, mapping.tag, mapping.style))
        case .sequence(let sequence):
            return .sequence(.init(sequence.map(plain), sequence.tag, sequence.style))
        case .scalar(let scalar):
            guard node.tag == Tag(.float), let number = Double(scalar.string) else { return node }
            // YAML 1.1 recognizes an exponent only in a number with a decimal point.
            let text = "\(number)".replacing(/^(-?\d+)e/) { "\($0.1).0e" }
            return .scalar(.init(text, scalar.tag, scalar.style))
        case .alias: return node
        }
    }

    /// Returns the keys of `given` that are not in `known`, which contains every valid key, with the nearest.
    private static func unknownKeys(of given: Node, known: Node, path: String) -> [String] {
        switch (given, known) {
        case (.mapping(let given), .mapping(let known)):
            return given.flatMap { key, value -> [String] in
                let name = key.string ?? "?"
                let full = path.isEmpty ? name : path + "." + name
                // `null` is the same as a missing key.
                guard value.null == nil else { return [] }
                guard let other = known[key] else {
                    let near = nearestName(to: name, in: known.keys.compactMap(\.string))
                    return [full.printable() + (near.map { " (did you mean '\($0)'?)" } ?? "")]
                }
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
            return "\(path(context)) must be \(type): \(context.debugDescription)"
        case .dataCorrupted(let context):
            let place = path(context)
            return (place.isEmpty ? "" : place + ": ") + context.debugDescription
        @unknown default: return "\(error)"
        }
    }
}
