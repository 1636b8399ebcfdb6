/// What a rank keeps of weights that ranks can divide.
package enum Sharding: String, Codable, Sendable, CaseIterable {
    /// Everything.
    case none
    /// The same part as no other rank.
    case full
    /// A part of its machine's copy.
    case hybrid
}
