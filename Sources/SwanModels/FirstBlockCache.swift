public import SwanSystem
import Torch

/// The change of what the first block adds to the tokens since the other blocks last ran.
public struct FirstBlockChange: Sendable, Equatable {
    /// The mean absolute change.
    public let change: Double
    /// The mean magnitude of what it added then.
    public let magnitude: Double
    /// The numbers that these are means over, for means over several ranks' tokens.
    public let count: Int

    /// A change, such as the mean over several ranks.
    public init(change: Double, magnitude: Double, count: Int) {
        self.change = change
        self.magnitude = magnitude
        self.count = count
    }
}

/// What the blocks after the first added to the tokens, reused while the first one's part hardly changes.
///
/// Neighbouring steps of a solver compute nearly the same. The change of what the first block adds
/// tells how much the rest would change (TeaCache, https://arxiv.org/abs/2411.19108, with the first
/// block for an indicator as in ParaAttention and diffusers). It is an approximation: a threshold of
/// 0 reuses nothing. A cache is for one prompt's calls, one after another, of one video and one range
/// of blocks.
public final class FirstBlockCache {
    /// How much the first block's part may change, relative to its mean magnitude.
    public let threshold: Double
    /// Calls that reused what an earlier one had computed.
    public private(set) var reused = 0
    /// What the first block added when the rest was last computed.
    private var first: Tensor?
    private var rest: Tensor?

    private let reuses: (FirstBlockChange, _ threshold: Double) throws(SwanError) -> Bool

    /// An empty cache.
    ///
    /// - Parameter reuses: decides whether the other blocks' output is reused; nil reuses it if the
    ///   change is below the threshold. Ranks that hold parts of the tokens agree by taking the means
    ///   over all parts. It is called if an earlier call had tokens of the same shape.
    public init(
        threshold: Double,
        reuses: ((FirstBlockChange, _ threshold: Double) throws(SwanError) -> Bool)? = nil
    ) {
        self.threshold = threshold
        self.reuses = reuses ?? { $0.change < $1 * $0.magnitude }
    }

    /// What the other blocks add, where it can be reused; `added` is the first block's part [B, L, C].
    func rest(after added: Tensor) throws(SwanError) -> Tensor? {
        if let first, let rest, first.shape == added.shape {
            let change = FirstBlockChange(
                change: try (added - first).abs().to(.float32).mean().item(),
                magnitude: try first.abs().to(.float32).mean().item(),
                count: added.count
            )
            if try reuses(change, threshold) {
                reused += 1
                return rest
            }
        }
        first = added
        return nil
    }

    /// Keeps what the other blocks have added.
    func keep(_ rest: Tensor) { self.rest = rest }
}
