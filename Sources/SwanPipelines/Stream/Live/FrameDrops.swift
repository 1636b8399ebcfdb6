/// The frames of a live stream that were not shown, by cause.
public struct FrameDrops: Sendable, Equatable, Codable {
    /// Frames that arrived before the model was ready.
    public var starting = 0
    /// Frames that arrived while the model was busy, in favor of newer ones.
    public var busy = 0
    /// Frames that arrived while the stream was paused.
    public var paused = 0
    /// Restyled frames that a receiver was too slow for.
    public var output = 0
    /// Restyled frames without a place in a file of constant rate, because they came faster than that.
    public var early = 0

    /// Creates counts of zero.
    public init() {}

    /// All of them.
    public var total: Int { starting + busy + paused + output + early }
}
