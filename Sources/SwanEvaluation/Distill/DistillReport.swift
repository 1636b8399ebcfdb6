/// The result of `DistillBenchmark`.
package struct DistillReport: Sendable, Encodable {
    /// The version of the schema; it increases when a key is removed or its meaning changes.
    package let schemaVersion = 1
    /// The models, as specified.
    package let model, teacher: String
    /// The model between them; nil if none was given.
    package let regression: String?
    /// The seed of prompts and noise, and the number of prompts.
    package let seed: UInt64
    package let prompts: Int
    /// The figures, in the order in which they were measured.
    package internal(set) var figures: [Figure] = []

    /// Whether all figures meet their bounds.
    package var holds: Bool { figures.allSatisfy(\.holds) }

    private enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version", model, teacher, regression = "ode", seed, prompts
        case figures
    }
}
