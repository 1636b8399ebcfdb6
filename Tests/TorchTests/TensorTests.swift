import GoldenSupport
import Synchronization
import Testing
import Torch
import SwanSystem

struct TensorTests {
    @Test func properties() throws {
        let x = try Tensor([1, 2, 3, 4, 5, 6] as [Float], [2, 3])
        #expect(x.rank == 2)
        #expect(x.shape == [2, 3])
        #expect(x.strides == [3, 1])
        #expect(x.count == 6)
        #expect(x.byteCount == 24)
        #expect(x.size(-1) == 3)
        #expect(x.dtype == .float32)
        #expect(x.device == .cpu)
        #expect(x.isContiguous)
        #expect("\(x)" == "Tensor[2, 3] float32 cpu")
        let turned = try x.transposed(0, 1)
        #expect(turned.shape == [3, 2])
        #expect(turned.strides == [1, 3])
        #expect(!turned.isContiguous)
    }

    /// Creates a tensor from `values`, and reads it back as their type and as `Double`.
    private func roundTrip<Element: TensorElement & Equatable>(
        _ values: [Element],
        _ doubles: [Double]
    ) throws {
        let x = try Tensor(values, [values.count])
        #expect(x.dtype == Element.dtype)
        #expect(x.byteCount == values.count * MemoryLayout<Element>.stride)
        #expect(try x.array(of: Element.self) == values)
        #expect(try x.array(of: Double.self) == doubles)
    }

    @Test func roundTripsEveryElementType() throws {
        try roundTrip([0, 7, 255] as [UInt8], [0, 7, 255])
        try roundTrip([-128, 0, 127] as [Int8], [-128, 0, 127])
        try roundTrip([-32_768, 32_767] as [Int16], [-32_768, 32_767])
        try roundTrip([.min, .max] as [Int32], [-2_147_483_648, 2_147_483_647])
        try roundTrip([-9_007_199_254_740_992, 3] as [Int64], [-9_007_199_254_740_992, 3])
        try roundTrip([-5, 9_007_199_254_740_992] as [Int], [-5, 9_007_199_254_740_992])
        try roundTrip([1.5, -.infinity] as [Float], [1.5, -.infinity])
        try roundTrip([0.1, 1e300] as [Double], [0.1, 1e300])
        try roundTrip([true, false] as [Bool], [1, 0])
    }

    @Test(arguments: DType.allCases) func everyDTypeConverts(_ dtype: DType) throws {
        let values: [Float] = [0, 1, 1, 0]
        let x = try Tensor(values, [2, 2]).to(dtype)
        #expect(x.dtype == dtype)
        #expect(x.byteCount == 4 * dtype.size)
        guard dtype != .complex64, dtype != .complex128 else { return }
        #expect(try x.array(of: Float.self) == values)
    }

    @Test func roundingOfNarrowFloats() throws {
        let x = try Tensor([1.001, 3.14159, -70_000] as [Float], [3])
        #expect(try x.to(.bfloat16).array() == [1.0, 3.140625, -70_144] as [Float])
        #expect(try x.to(.float16).array() == [1.0009765625, 3.140625, -.infinity] as [Float])
        #expect(try x.sliced(0, 0..<2).to(.float8e4m3).array() == [1, 3.25] as [Float])
    }

    @Test func readsViewsInLogicalOrder() throws {
        let x = try Tensor([1, 2, 3, 4, 5, 6] as [Int], [2, 3])
        #expect(try x.transposed(0, 1).array() == [1, 4, 2, 5, 3, 6])
        #expect(try x.sliced(1, 1..<3).array() == [2, 3, 5, 6])
    }

    @Test func emptyAndScalarTensors() throws {
        let none = try Tensor([] as [Float], [0, 3])
        #expect(none.count == 0)
        #expect(try none.array(of: Float.self).isEmpty)
        let one = try Tensor([2.5], [])
        #expect(one.rank == 0)
        #expect(try one.item() == 2.5)
        #expect(try one.array() == [2.5])
    }

    @Test func conversionsWithoutChangeShareMemory() throws {
        var x = try Tensor([1, 2] as [Float], [2])
        let same = try x.to(.float32).to(.cpu).to(.cpu, .float32)
        let other = try x.to(.float64)
        try x.fill(with: 9)
        #expect(try same.array() == [9, 9] as [Float])
        #expect(try other.array() == [1, 2] as [Float])
    }

    @Test func bytes() throws {
        let x = try Tensor([1, 2, 3, 4] as [Int16], [2, 2])
        let sum = try x.withUnsafeBytes { $0.bindMemory(to: Int16.self).reduce(0, +) }
        #expect(sum == 10)
        let error = #expect(throws: SwanError.self) {
            try x.transposed(0, 1).withUnsafeBytes { $0.count }
        }
        #expect(error?.code == .invalidArgument)
    }

    @Test func tooFewElements() {
        let error = #expect(throws: SwanError.self) { try Tensor([1, 2, 3] as [Float], [2, 2]) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message == "3 elements do not fill the shape [2, 2]")
    }

    @Test func itemNeedsExactlyOneElement() throws {
        let x = try Tensor.zeros([2])
        let error = #expect(throws: SwanError.self) { try x.item() }
        #expect(error?.code == .invalidArgument)
    }
}

/// Memory that records when it is released.
private final class Owner: Sendable {
    nonisolated(unsafe) let memory: UnsafeMutablePointer<Float>
    private let released: @Sendable () -> Void

    init(_ values: [Float], released: @escaping @Sendable () -> Void) {
        memory = .allocate(capacity: values.count)
        memory.initialize(from: values, count: values.count)
        self.released = released
    }

    deinit {
        memory.deallocate()
        released()
    }
}

struct TensorMemoryTests {
    @Test func theOwnerLivesAsLongAsTheLastView() throws {
        let releases = Atomic(0)
        try withExtendedLifetime(releases) {
            nonisolated(unsafe) var view: Tensor?
            do {
                let owner = Owner([1, 2, 3, 4]) { releases.add(1, ordering: .relaxed) }
                let x = try Tensor(memory: owner.memory, [2, 2], .float32, owner: owner)
                view = try x.selected(0, 1)
                owner.memory[2] = 30
            }
            #expect(releases.load(ordering: .relaxed) == 0)
            #expect(try view?.array() == [30, 4] as [Float])
            view = nil
            #expect(releases.load(ordering: .relaxed) == 1)
        }
    }

    @Test func releasesTheOwnerIfThereIsNoTensor() {
        let releases = Atomic(0)
        do {
            let owner = Owner([1]) { releases.add(1, ordering: .relaxed) }
            #expect(throws: SwanError.self) {
                try Tensor(memory: owner.memory, [-2], .float32, owner: owner)
            }
        }
        #expect(releases.load(ordering: .relaxed) == 1)
    }

    @Test func canBeReadAndReleasedOnManyThreads() async throws {
        let x = try Tensor.ones([64])
        let sums = try await withThrowingTaskGroup(of: Double.self) { group in
            for task in 0..<8 {
                group.addTask {
                    var sum = 0.0
                    for _ in 0..<200 { sum += try (x * Double(task)).sum().item() }
                    return sum
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(sums.sorted() == (0..<8).map { Double($0) * 64 * 200 })
    }
}
