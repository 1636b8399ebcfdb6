/// The ranges of the numbers that come from files: configurations, recipes, shapes of weights.
///
/// Files are untrusted. The ranges are small enough that sums and products of sizes do not overflow
/// and allocations stay in proportion, and far larger than in any published model.
package enum NumberLimits {
    /// Channels, widths of layers, attention heads.
    package static let width = 1...65_536
    /// Rows of an embedding.
    package static let vocabulary = 1...4_194_304
    /// Blocks of a network.
    package static let layers = 1...1_024
    /// Tokens of a text or of an image.
    package static let tokens = 1...65_536
    /// Pixels or latents on a side of a patch.
    package static let patch = 1...32
    /// An epsilon added to a variance, which may be zero.
    package static let epsilon = 1e-12...1.0
    /// Means of latents; published ones are below 10.
    package static let mean = -1e6...1e6
    /// Standard deviations of latents, which latents are divided by; published ones are 0.3 to 10.
    package static let deviation = 1e-6...1e6
    /// Coefficients, well within the range of float32.
    package static let magnitude = -1e30...1e30
    /// Latent frames of a chunk, a window or a cache.
    package static let frames = 1...4_096
    /// Rows or columns of pixels in an image.
    package static let side = 1...8_192
    /// Frames per second.
    package static let frameRate = 0.1...1_000.0
    /// Elements of a list.
    package static let list = 1...4_096
    /// Large counts: training steps, prompts, clips.
    package static let count = 1...1_000_000_000

    /// Throws `invalidWeights` if `value` is outside `range` or NaN.
    ///
    /// - Parameter key: The name of the number in the file, for the message.
    package static func require<Value: Comparable>(
        _ value: Value,
        in range: ClosedRange<Value>,
        _ key: String
    ) throws(SwanError) {
        guard range.contains(value) else {
            throw SwanError(
                .invalidWeights,
                "\(key) is \(value); it must be \(range.lowerBound) to \(range.upperBound)"
            )
        }
    }

    /// Throws `invalidWeights` with `message` unless `holds`.
    package static func require(
        _ holds: Bool,
        _ message: @autoclosure () -> String
    ) throws(SwanError) {
        guard holds else { throw SwanError(.invalidWeights, message()) }
    }

    /// The number of a layer in a key, such as the 3 of `blocks.3.ffn`; nil for anything else.
    package static func layer(_ text: some StringProtocol) -> Int? {
        guard text.allSatisfy({ $0.isASCII && $0.isNumber }) else { return nil }
        return Int(text).flatMap { $0 < layers.upperBound ? $0 : nil }
    }
}

/// Runs a check while decoding a configuration, and throws a decoding error with the coding path.
package func checked<Key: CodingKey>(
    _ values: KeyedDecodingContainer<Key>,
    _ check: () throws(SwanError) -> Void
) throws {
    do {
        try check()
    } catch {
        throw DecodingError.dataCorrupted(
            .init(codingPath: values.codingPath, debugDescription: error.message)
        )
    }
}

extension NumberLimits {
    /// Throws an error with the given code if a number in a file is outside its range.
    package static func require<Value: Comparable>(
        _ value: Value,
        in range: ClosedRange<Value>,
        _ key: String,
        of file: String,
        _ code: SwanError.Code
    ) throws(SwanError) {
        do {
            try require(value, in: range, key)
        } catch {
            throw error.about(file).as(code)
        }
    }
}
