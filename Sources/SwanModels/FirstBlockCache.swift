public import SwanSystem
import Torch

/// The change of the first block's residual since the other blocks last ran.
public struct FirstBlockChange: Sendable, Equatable {
    /// The mean absolute change.
    public let change: Double
    /// The mean magnitude of the residual at that time.
    public let magnitude: Double
    /// The number of elements in these means, for averaging over the tokens of several ranks.
    public let count: Int

    /// Creates a change, such as the mean over several ranks.
    public init(change: Double, magnitude: Double, count: Int) {
        self.change = change
        self.magnitude = magnitude
        self.count = count
    }
}

/// A cache of the residual of all blocks after the first, reused while that of the first block
/// hardly changes.
///
/// Adjacent steps of a solver compute nearly the same. The change of the first block's residual
/// indicates how much the rest would change (TeaCache, https://arxiv.org/abs/2411.19108, with the
/// first block as the indicator, as in ParaAttention and diffusers). It is an approximation: a
/// threshold of 0 reuses nothing. Use a separate cache for each prompt, video and range of blocks,
/// and call it sequentially.
public final class FirstBlockCache {
    /// The maximum change of the first block's residual, relative to its mean magnitude.
    public let threshold: Double
    /// The number of calls that reused an earlier result.
    public private(set) var reused = 0
    /// The first block's residual when the rest was last computed.
    private var first: Tensor?
    private var rest: Tensor?

    private let reuses: (FirstBlockChange, _ threshold: Double) throws(SwanError) -> Bool

    /// Creates an empty cache.
    ///
    /// - Parameter reuses: Decides whether the other blocks' output is reused; nil reuses it if the
    ///   change is below the threshold. Ranks that hold parts of the tokens agree by averaging over
    ///   all parts. Called if an earlier call had tokens of the same shape.
    public init(
        threshold: Double,
        reuses: ((FirstBlockChange, _ threshold: Double) throws(SwanError) -> Bool)? = nil
    ) {
        self.threshold = threshold
        self.reuses = reuses ?? { $0.change < $1 * $0.magnitude }
    }

    /// The residual of the other blocks if it can be reused; `added` is that of the first block [B,
    /// L, C].
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

    /// Stores the residual of the other blocks.
    func keep(_ rest: Tensor) { self.rest = rest }
}
