import Torch

/// What the blocks after the first added to the tokens, reused while the first one's part hardly changes.
///
/// Neighbouring steps of a solver compute nearly the same. The change of what the first block adds
/// tells how much the rest would change (TeaCache, https://arxiv.org/abs/2411.19108, with the first
/// block for an indicator as in ParaAttention and diffusers). It is an approximation: a threshold of
/// 0 reuses nothing. A cache is for one prompt's calls, one after another, of one video.
public final class FirstBlockCache {
    /// How much the first block's part may change, relative to its mean magnitude.
    public let threshold: Double
    /// Calls that reused what an earlier one had computed.
    public private(set) var reused = 0
    /// What the first block added when the rest was last computed.
    private var first: Tensor?
    private var rest: Tensor?

    /// An empty cache.
    public init(threshold: Double) { self.threshold = threshold }

    /// What the other blocks add, where it can be reused; `added` is the first block's part [B, L, C].
    func rest(after added: Tensor) throws(TorchError) -> Tensor? {
        if let first, let rest, first.shape == added.shape {
            let change = try (added - first).abs().to(.float32).mean().item()
            let size = try first.abs().to(.float32).mean().item()
            if change < threshold * size {
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
