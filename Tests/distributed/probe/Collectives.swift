import RankSupport
import SwanDistributed
import Torch

extension Probe {
    /// Every operation of a group, in every dtype that it is used with.
    func checkCollectives() throws {
        for dtype in [DType.float32, .bfloat16, .float16] { try checkReductions(dtype) }
        try checkBroadcast()
        try checkParts()
        try checkMessages()
        try checkGradients()
        try checkGroups()
    }

    private func ones(_ count: Int, _ value: Double, _ dtype: DType = .float32) throws -> Tensor {
        try (Tensor.ones([count]) * value).to(dtype)
    }

    private func checkReductions(_ dtype: DType) throws {
        let sum = Double(world.size * (world.size + 1) / 2)
        let own = Double(world.rank + 1)
        for (reduction, expected) in [
            (ProcessGroup.Reduction.sum, sum), (.max, Double(world.size)), (.min, 1),
        ] {
            let x = try ones(5, own, dtype)
            try world.group.reduce(x, reduction)
            try check(x, ones(5, expected, dtype), within: 0, "\(reduction) of \(dtype)")
        }
    }

    private func checkBroadcast() throws {
        let x = try ones(7, Double(world.rank))
        try world.group.broadcast(x, from: world.size - 1)
        try check(x, ones(7, Double(world.size - 1)), within: 0, "broadcast")
    }

    private func checkParts() throws {
        let (size, rank) = (world.size, Double(world.rank))
        let whole = try Tensor.empty([size * 3])
        try world.group.startGather(ones(3, rank), into: whole).wait()
        let expected = try concatenated((0..<size).map { try ones(3, Double($0)) })
        try check(whole, expected, within: 0, "gather")
        let part = try Tensor.empty([3])
        try world.group.startScatteredSum(whole, into: part).wait()
        try check(part, ones(3, rank * Double(size)), within: 0, "scattered sum")
        // Rank r sends r + p rows to rank p.
        let sent = (0..<size).map { $0 + world.rank }
        let rows = try concatenated(
            sent.enumerated().map { try ones($1, Double(world.rank * 100 + $0)) }
        )
        let arrived = try world.group.exchanged(rows, sent: sent, received: sent)
        let wanted = try concatenated(
            sent.enumerated().map { try ones($1, Double($0 * 100 + world.rank)) }
        )
        try check(arrived, wanted, within: 0, "exchange")
    }

    private func checkMessages() throws {
        let (size, rank) = (world.size, world.rank)
        let next = (rank + 1) % size
        let previous = (rank + size - 1) % size
        guard size > 1 else { return }
        let (a, b) = (try Tensor.empty([3]), try Tensor.empty([2]))
        // Tags, not the order of sending, tell which message is which.
        let receives = [
            try world.group.startReceive(a, from: previous, tag: 1),
            try world.group.startReceive(b, from: previous, tag: 2),
        ]
        let sends = [
            try world.group.startSend(ones(2, Double(rank) + 0.5), to: next, tag: 2),
            try world.group.startSend(ones(3, Double(rank)), to: next, tag: 1),
        ]
        for work in receives + sends { try work.wait() }
        try check(a, ones(3, Double(previous)), within: 0, "message 1")
        try check(b, ones(2, Double(previous) + 0.5), within: 0, "message 2")
        try check(world.group.traffic[.send].bytes == 20, "bytes of messages")
    }

    /// Gradients of exchanges against those of the whole computation on one rank.
    private func checkGradients() throws {
        let size = world.size
        let counts = (0..<size).map { $0 + 1 }
        let all = try Tensor.randn([counts.reduce(0, +), 2], Generator(seed: 5))
        let weight = try Tensor.randn(all.shape, Generator(seed: 6))
        let first = counts[..<world.rank].reduce(0, +)
        let own = try all.narrowed(0, first, counts[world.rank]).contiguous().requiringGradient()
        // All ranks compute the same: sum(w x^2).
        let same = try world.group.gathered(own, counts: counts, isSame: true)
        try check(same, all, within: 0, "gather of unequal parts")
        let expected = try (all * weight * 2).narrowed(0, first, counts[world.rank])
        let loss = try (same * same * weight).sum()
        let gradient = try gradients(of: loss, for: [own])[0]
        try check(gradient ?? all, expected, within: 1e-6, "gradient of a gather, same")
        // Rank r computes (r + 1) times that; the losses are added.
        let other = try world.group.gathered(own, counts: counts, isSame: false)
        let part = try (other * other * weight).sum() * Double(world.rank + 1)
        let total = Double(size * (size + 1) / 2)
        let summed = try gradients(of: part, for: [own])[0]
        try check(summed ?? all, expected * total, within: 1e-5, "gradient of a gather, summed")
        let x = try ones(4, Double(world.rank + 1)).requiringGradient()
        let sum = try world.group.summed(x, isSame: true)
        let ofSum = try gradients(of: (sum * sum).sum(), for: [x])[0]
        try check(ofSum ?? x, ones(4, 2 * total), within: 1e-6, "gradient of a sum")
    }

    private func checkGroups() throws {
        guard world.size == 4 else { return }
        let mesh = try Mesh(world, Mesh.Shape(data: 2, sequence: 2))
        let x = try ones(1, Double(world.rank))
        try mesh.groups[.sequence]?.reduce(x)
        try check(x, ones(1, world.rank < 2 ? 1 : 5), within: 0, "sum over a sequence")
        let y = try ones(1, Double(world.rank))
        try mesh.groups[.data]?.reduce(y)
        try check(y, ones(1, world.rank % 2 == 0 ? 2 : 4), within: 0, "sum over data")
        try check(mesh.groups[.stage] == nil, "a group of one stage")
    }
}
