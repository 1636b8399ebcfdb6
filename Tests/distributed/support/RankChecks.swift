import SwanSystem
package import Torch

/// What compares results on a rank.
package protocol RankChecks {
    /// The number of this process, for messages.
    var rank: Int { get }
    /// The largest element of what is compared must exceed this: results that are all zeros are
    /// equal whatever is wrong.
    var leastSize: Double { get }
}

extension RankChecks {
    /// By default, zeros may be compared.
    package var leastSize: Double { -1 }

    /// Throws unless a condition holds.
    package func check(_ holds: Bool, _ what: String) throws {
        guard holds else { throw SwanError(.diverged, "rank \(rank): \(what)") }
    }

    /// Throws if two tensors differ by more than a limit, relative to the largest element.
    package func check(
        _ a: Tensor,
        _ b: Tensor,
        within limit: Double,
        _ what: String
    ) throws {
        try check(a.shape == b.shape, "\(what): shapes \(a.shape) and \(b.shape)")
        guard a.count > 0 else { return }
        let (a, b) = (try a.detached().to(.float64), try b.detached().to(.float64))
        try check(a.isAllFinite() && b.isAllFinite(), "\(what): not finite")
        let difference = try (a - b).abs().max().item()
        let size = try b.abs().max().item()
        try check(
            difference <= limit * max(size, 1e-6),
            "\(what): differ by \(difference) of \(size)"
        )
        try check(size > leastSize, "\(what): nothing is there")
    }
}
