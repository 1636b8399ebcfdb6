import RankSupport
import SwanDistributed
import SwanSystem
import Torch
import TorchNN

extension Probe {
    /// Attention over ranks against that of one rank, with its gradients.
    func checkAttention() throws {
        for (tokens, heads) in [(390, 12), (391, 12), (257, 5), (130, 40), (31, 3)] {
            for dtype in [DType.float32, .bfloat16] { try checkAttention(2, tokens, heads, dtype) }
        }
        // More ranks than heads.
        for heads in 1...2 { try checkAttention(1, 67, heads, .float32) }
    }

    private func checkAttention(_ b: Int, _ count: Int, _ heads: Int, _ dtype: DType) throws {
        let random = try Generator(seed: UInt64(count))
        let whole = try (0..<3).map { _ in
            try Tensor.randn([b, count, heads, 8], random).to(dtype)
        }
        guard
            let sequence = try SequenceParallel(
                world,
                ranks: Array(0..<world.size),
                headCount: heads
            )
        else { return }
        let shares = try sequence.shares(of: count)
        let range = shares[world.rank]
        let own = try whole.map { x throws(SwanError) in
            try x.narrowed(1, range.lowerBound, range.count).contiguous().requiringGradient()
        }
        let result = try sequence.attend(own[0], own[1], own[2], shares)
        let tracked = try whole.map { x throws(SwanError) in try x.cloned().requiringGradient() }
        let expected = try attention(tracked[0], tracked[1], tracked[2])
        let name = "attention of \(count) tokens, \(heads) heads, \(dtype)"
        let limit = dtype == .float32 ? 2e-6 : 2e-2
        let part = try expected.narrowed(1, range.lowerBound, range.count)
        try check(result.detached(), part.detached(), within: limit, name)
        // A ring has no gradient.
        guard SequenceParallel.width(world.size, headCount: heads) == world.size else { return }
        let weight = try Tensor.randn(expected.shape, random).to(dtype)
        let ownWeight = try weight.narrowed(1, range.lowerBound, range.count)
        let found = try gradients(of: (result * ownWeight).sum(), for: own)
        let wanted = try gradients(of: (expected * weight).sum(), for: tracked)
        for (name, (a, b)) in zip(["dq", "dk", "dv"], zip(found, wanted)) {
            guard let a, let b else { throw SwanError(.diverged, "no \(name)") }
            try check(a, b.narrowed(1, range.lowerBound, range.count), within: limit, name)
        }
    }
}
