import Dispatch
import Foundation
import GoldenSupport
import Synchronization
import Testing
import Torch
import SwanSystem

/// Regions of a graph that are recomputed for gradients instead of stored.
struct RecomputationTests {
    /// Uses operators that save inputs, outputs, both, scalars, and views.
    private static func block(_ x: Tensor, _ w: Tensor) throws(SwanError) -> Tensor {
        let y = try (matmul(x, w) * 0.5).gelu(tanh: true).softmax()
        let z = try rmsNorm(y * y.exp() + x.selected(0, 0), weight: w.selected(0, 1), eps: 1e-3)
        return try scaledDotProductAttention(
            z.reshaped(1, 1, -1, w.size(0)),
            x.reshaped(1, 1, -1, w.size(0)),
            z.reshaped(1, 1, -1, w.size(0))
        ).reshaped(x.shape)
    }

    private static func leaves(seed: UInt64, width: Int = 8) throws -> (x: Tensor, w: [Tensor]) {
        let generator = try Generator(seed: seed)
        let x = try Tensor.randn([6, width], generator)
        let w = try (0..<3).map { _ in try Tensor.randn([width, width], generator) }
        for leaf in [x] + w { try leaf.setRequiresGrad() }
        return (x, w)
    }

    private static func kept(_ x: Tensor, _ w: [Tensor]) throws(SwanError) -> Tensor {
        var y = x
        for w in w { y = try block(y, w * 1.5) }
        return try y.pow(2).mean()
    }

    private static func again(_ x: Tensor, _ w: [Tensor]) throws(SwanError) -> Tensor {
        var y = x
        for w in w {
            // A computed weight: its gradients continue through the region to the leaf.
            let (input, derived) = (y, try w * 1.5)
            y = try recomputed { () throws(SwanError) in try block(input, derived) }
        }
        return try y.pow(2).mean()
    }

    private static func numbers(_ gradients: [Tensor?]) throws -> [[Float]] {
        try gradients.map { try #require($0).array(of: Float.self) }
    }

    @Test func lossAndGradientsMatchWithoutRecomputation() throws {
        let (x, w) = try Self.leaves(seed: 1)
        let (kept, again) = (try Self.kept(x, w), try Self.again(x, w))
        #expect(try kept.item() == again.item())
        let expected = try Self.numbers(gradients(of: kept, for: [x] + w))
        #expect(try Self.numbers(gradients(of: again, for: [x] + w)) == expected)
        #expect(expected.allSatisfy { $0.contains { $0 != 0 } })
    }

    @Test func regionsMayBeNested() throws {
        let (x, w) = try Self.leaves(seed: 2)
        let again = try recomputed { () throws(SwanError) in try Self.again(x, w) }
        let expected = try Self.numbers(gradients(of: Self.kept(x, w), for: [x] + w))
        #expect(try Self.numbers(gradients(of: again, for: [x] + w)) == expected)
    }

    /// Eight constant numbers; counts its live instances.
    private final class Probe: @unchecked Sendable {
        static let alive = Atomic(0)
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 32, alignment: 64)

        init() {
            memory.initializeMemory(as: Float.self, repeating: 2, count: 8)
            Self.alive.add(1, ordering: .relaxed)
        }

        deinit {
            memory.deallocate()
            Self.alive.subtract(1, ordering: .relaxed)
        }

        static func tensor() throws(SwanError) -> Tensor {
            let probe = Probe()
            return try Tensor(memory: probe.memory, [8], .float32, owner: probe)
        }
    }

    @Test func intermediatesAreReleased() throws {
        func alive() -> Int { Probe.alive.load(ordering: .relaxed) }
        let (x, _) = try Self.leaves(seed: 3)
        // A product keeps each factor for the gradient of the other.
        let kept = try (x * Probe.tensor()).sum()
        #expect(alive() == 1)
        let again = try recomputed { () throws(SwanError) in try (x * Probe.tensor()).sum() }
        #expect(alive() == 1)
        let expected = try Self.numbers(gradients(of: kept, for: [x]))
        #expect(alive() == 0)
        #expect(try Self.numbers(gradients(of: again, for: [x])) == expected)
        #expect(expected == [Array(repeating: 2, count: 48)])
        #expect(alive() == 0)
    }

    @Test func bodiesAreReleasedWithTheGraph() throws {
        final class Mark: Sendable {}
        let (x, _) = try Self.leaves(seed: 4)
        weak var mark: Mark?
        do {
            let held = Mark()
            mark = held
            let y = try recomputed { () throws(SwanError) in
                withExtendedLifetime(held) {}
                return try x.exp()
            }
            #expect(y.requiresGrad)
        }
        #expect(mark == nil)
    }

    @Test func bodiesRunTwiceOnlyIfRecorded() throws {
        let runs = Atomic(0)
        let (x, _) = try Self.leaves(seed: 5)
        func square() throws(SwanError) -> Tensor {
            try recomputed { () throws(SwanError) in
                runs.add(1, ordering: .relaxed)
                return try (x * x).exp()
            }
        }
        _ = try withoutGradients { () throws(SwanError) in try square() }
        #expect(runs.load(ordering: .relaxed) == 1)
        _ = try gradients(of: square().sum(), for: [x])
        #expect(runs.load(ordering: .relaxed) == 3)
    }

    @Test func errorsOfBothRunsPassThrough() throws {
        let (x, w) = try Self.leaves(seed: 6)
        let failing = SwanError(.cannotWrite, "the second run fails")
        let first = #expect(throws: SwanError.self) {
            try recomputed { () throws(SwanError) -> Tensor in throw failing }
        }
        #expect(first == failing)
        let runs = Atomic(0)
        let y = try recomputed { () throws(SwanError) in
            guard runs.add(1, ordering: .relaxed).oldValue == 0 else { throw failing }
            return try x.exp()
        }
        let second = #expect(throws: SwanError.self) { try gradients(of: y.sum(), for: [x]) }
        #expect(second == failing)
        // Neither left the thread inside a region or with recording disabled.
        let (kept, again) = (try x.exp().sum(), try Self.again(x, w))
        #expect(try gradients(of: kept, for: [x])[0] != nil)
        #expect(try gradients(of: again, for: [x])[0] != nil)
    }

    @Test(arguments: [1, 3])
    func refusesADifferentSecondRun(_ count: Int) throws {
        let (x, _) = try Self.leaves(seed: 7)
        let runs = Atomic(0)
        let y = try recomputed { () throws(SwanError) in
            let isFirst = runs.add(1, ordering: .relaxed).oldValue == 0
            var y = x
            for _ in 0..<(isFirst ? 2 : count) { y = try y.exp() }
            return y
        }
        let error = #expect(throws: SwanError.self) { try gradients(of: y.sum(), for: [x]) }
        #expect(error?.message.contains("when run again") == true)
    }

    @Test func threadsAreIndependent() throws {
        let (x, w) = try Self.leaves(seed: 8, width: 16)
        let expected = try Self.numbers(gradients(of: Self.kept(x, w), for: [x] + w))
        let found = Mutex<[Result<[[Float]], any Error>]>([])
        DispatchQueue.concurrentPerform(iterations: 4) { _ in
            for _ in 0..<10 {
                let result = Result {
                    try Self.numbers(gradients(of: Self.again(x, w), for: [x] + w))
                }
                found.withLock { $0.append(result) }
            }
        }
        let all = found.withLock { $0 }
        #expect(all.count == 40)
        for result in all { #expect(try result.get() == expected) }
    }
}
