import Torch

/// The ranges of the numbers that come from files: configurations, recipes, shapes of weights.
///
/// Files come from strangers. A number that passes here is small enough for the sums and products that
/// are formed from sizes, so that no arithmetic overflows and allocations stay in proportion, and far
/// larger than in any published model.
public enum NumberLimits {
    /// Channels, widths of layers, attention heads.
    public static let width = 1...65_536
    /// Rows of an embedding.
    public static let vocabulary = 1...4_194_304
    /// Blocks of a network.
    public static let layers = 1...1_024
    /// Tokens of a text or of an image.
    public static let tokens = 1...65_536
    /// Pixels or latents on a side of a patch.
    public static let patch = 1...32
    /// What is added to a variance.
    public static let epsilon = 0.0...1.0
    /// Means, deviations, coefficients: what float32 can hold with room to spare.
    public static let magnitude = -1e30...1e30
    /// Latent frames of a chunk, a window or a cache.
    public static let frames = 1...4_096
    /// Rows or columns of pixels in a picture.
    public static let side = 1...8_192
    /// Frames a second.
    public static let frameRate = 0.1...1_000.0
    /// Elements of a list.
    public static let list = 1...4_096
    /// Anything that is counted over hours: steps of training, prompts, clips.
    public static let count = 1...1_000_000_000

    /// Throws `invalidWeights` where `value` is outside `range`, or not a number.
    ///
    /// - Parameter key: the number's name in the file, for the message.
    public static func require<Value: Comparable>(
        _ value: Value,
        in range: ClosedRange<Value>,
        _ key: String
    ) throws(TorchError) {
        guard range.contains(value) else {
            throw TorchError(
                .invalidWeights,
                "\(key) is \(value); it must be \(range.lowerBound) to \(range.upperBound)"
            )
        }
    }

    /// Throws `invalidWeights` with `message` unless `holds`.
    public static func require(
        _ holds: Bool,
        _ message: @autoclosure () -> String
    ) throws(TorchError) {
        guard holds else { throw TorchError(.invalidWeights, message()) }
    }

    /// The number of a layer in a key, such as the 3 of `blocks.3.ffn`; nil for anything else.
    static func layer(_ text: some StringProtocol) -> Int? {
        guard text.allSatisfy({ $0.isASCII && $0.isNumber }) else { return nil }
        return Int(text).flatMap { $0 < layers.upperBound ? $0 : nil }
    }
}

/// Runs a check while a configuration is decoded, whose error then names what was decoded.
func checked<Key: CodingKey>(
    _ values: KeyedDecodingContainer<Key>,
    _ check: () throws(TorchError) -> Void
) throws {
    do {
        try check()
    } catch {
        throw DecodingError.dataCorrupted(
            .init(codingPath: values.codingPath, debugDescription: error.message)
        )
    }
}
