import Foundation
import SwanSystem
import Torch

/// Sums gradients over ranks while the backward pass computes further ones.
///
/// PyTorch Distributed, https://arxiv.org/abs/2006.15704: gradients are copied into flat buckets in
/// float32. A thread sums one bucket after the other, in an order that is the same on all ranks.
final class GradientReducer: @unchecked Sendable {
    /// The most bytes of a bucket with several gradients.
    private static let bucketBytes = 25 << 20

    private struct Bucket {
        /// The parameters and where their gradients start.
        var places: [(index: Int, start: Int)] = []
        var count = 0
        var missing = 0
        var flat: Tensor?
    }

    private let group: ProcessGroup
    private let shapes: [[Int]]
    private let device: Device
    private let bucketOf: [Int]
    // Guards everything below.
    private let condition = NSCondition()
    private var buckets: [Bucket]
    private var seen: Set<Int> = []
    /// The parameters in the order in which their gradients arrived.
    private(set) var arrivals: [Int] = []
    /// The number of buckets that the thread has summed.
    private var summed = 0
    private var isCancelled = false
    private var failure: SwanError?

    /// Starts the thread.
    ///
    /// - Parameters:
    ///   - parameters: The parameters, the same on all ranks.
    ///   - order: The order of the buckets' gradients, as they arrive in the backward pass; nil for
    ///     the parameters' reversed. It does not change the sums.
    init(_ group: ProcessGroup, _ parameters: [Tensor], order: [Int]?) throws(SwanError) {
        self.group = group
        shapes = parameters.map(\.shape)
        device = parameters.first?.device ?? .cpu
        var buckets: [Bucket] = []
        var bucketOf = [Int](repeating: 0, count: parameters.count)
        for index in order ?? parameters.indices.reversed() {
            let count = parameters[index].count
            let isFull = buckets.last.map { 4 * ($0.count + count) > Self.bucketBytes } ?? true
            if isFull { buckets.append(Bucket()) }
            let last = buckets.count - 1
            buckets[last].places.append((index, buckets[last].count))
            buckets[last].count += count
            buckets[last].missing += 1
            bucketOf[index] = last
        }
        self.buckets = buckets
        self.bucketOf = bucketOf
        guard !buckets.isEmpty else { return }
        try startThread("swan.reduce", stackBytes: 16 << 20) { [self] in
            ComputeBudget(threads: 1).apply()
            do throws(SwanError) {
                while let (number, flat) = next() { try sum(flat, number) }
            } catch {
                condition.withLock {
                    failure = error
                    condition.broadcast()
                }
            }
        }
    }

    /// Takes the gradient of a parameter, and what is added to it before it is summed over ranks.
    func add(_ gradient: Tensor?, _ index: Int, plus terms: [Tensor]) throws(SwanError) {
        condition.lock()
        defer { condition.unlock() }
        guard seen.insert(index).inserted else { return }
        if gradient != nil { arrivals.append(index) }
        try withoutGradients { () throws(SwanError) in
            var place = try place(of: index)
            if let gradient { try place.copy(from: gradient) }
            for term in terms { try place.add(term) }
        }
        buckets[bucketOf[index]].missing -= 1
        condition.broadcast()
    }

    /// The part of a bucket for a parameter's gradient, zeros at first.
    private func place(of index: Int) throws(SwanError) -> Tensor {
        let number = bucketOf[index]
        if buckets[number].flat == nil {
            let length = (buckets[number].count + group.size - 1) / group.size
            buckets[number].flat = try .zeros([length * group.size], .float32, device)
        }
        guard let flat = buckets[number].flat,
            let start = buckets[number].places.first(where: { $0.index == index })?.start
        else { throw SwanError(.invalidArgument, "gradient \(index) has no place") }
        return try flat.narrowed(0, start, shapes[index].reduce(1, *)).reshaped(shapes[index])
    }

    /// Waits for the next bucket in order; nil at the end.
    private func next() -> (number: Int, flat: Tensor)? {
        condition.withLock {
            while !isCancelled, summed < buckets.count, buckets[summed].missing > 0 {
                condition.wait()
            }
            guard !isCancelled, summed < buckets.count, let flat = buckets[summed].flat else {
                return nil
            }
            return (summed, flat)
        }
    }

    private func sum(_ flat: Tensor, _ number: Int) throws(SwanError) {
        let part = try group.scatteredSum(flat)
        try group.startGather(part, into: flat).wait()
        condition.withLock {
            summed = number + 1
            condition.broadcast()
        }
    }

    /// Waits for all sums, and returns them in the order of the parameters.
    ///
    /// - Parameter terms: What is added to the gradient of a parameter that did not arrive.
    func finish(plus terms: (Int) -> [Tensor]) throws(SwanError) -> [Tensor] {
        for index in shapes.indices { try add(nil, index, plus: terms(index)) }
        let failure = condition.withLock {
            while self.failure == nil, summed < buckets.count { condition.wait() }
            return self.failure
        }
        if let failure { throw failure }
        var sums: [Tensor] = []
        for index in shapes.indices { sums.append(try place(of: index)) }
        return sums
    }

    /// Ends the thread after the bucket that it is at.
    func cancel() {
        condition.withLock {
            isCancelled = true
            condition.broadcast()
        }
    }
}
