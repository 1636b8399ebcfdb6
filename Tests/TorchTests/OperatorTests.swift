import GoldenSupport
import Testing
import Torch
import SwanSystem

struct OperatorTests {
    private let a: Tensor
    private let row: Tensor

    init() throws {
        a = try Tensor([1, -2, 3, 4, 5, -6] as [Float], [2, 3])
        row = try Tensor([10, 20, 30] as [Float], [3])
    }

    private func expect(
        _ x: Tensor,
        _ values: [Float],
        _ shape: [Int]? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        try expectClose(
            x,
            Tensor(values, shape ?? x.shape),
            relative: 0,
            absolute: 0,
            sourceLocation: sourceLocation
        )
    }

    // MARK: - Arithmetic

    @Test func arithmeticBroadcasts() throws {
        try expect(a + row, [11, 18, 33, 14, 25, 24], [2, 3])
        try expect(a - row, [-9, -22, -27, -6, -15, -36])
        try expect(a * row, [10, -40, 90, 40, 100, -180])
        try expect(row / Tensor([2, 5] as [Float], [2, 1]), [5, 10, 15, 2, 4, 6], [2, 3])
        try expect(-row, [-10, -20, -30])
    }

    @Test func arithmeticWithNumbers() throws {
        try expect(row + 1, [11, 21, 31])
        try expect(1 + row, [11, 21, 31])
        try expect(row - 1, [9, 19, 29])
        try expect(1 - row, [-9, -19, -29])
        try expect(row * 0.5, [5, 10, 15])
        try expect(0.5 * row, [5, 10, 15])
        try expect(row / 10, [1, 2, 3])
        try expectClose(1 / row, Tensor([0.1, 0.05, 1.0 / 30] as [Float], [3]), relative: 1e-6)
        try expect(row.pow(2), [100, 400, 900])
    }

    @Test func combinedArithmetic() throws {
        try expect(row.adding(product: row, row, scaledBy: 0.5), [60, 220, 480])
        try expect(row.interpolated(to: row * 3, weight: 0.25), [15, 30, 45])
    }

    @Test func inPlaceOperatorsChangeViews() throws {
        var x = try a.cloned()
        let view = try x.selected(0, 1)
        try x.add(1)
        try expect(view, [5, 6, -5])
        try x.add(row, scaledBy: 2)
        try expect(view, [25, 46, 55])
        try x.subtract(row)
        try x.multiply(by: 2)
        try x.multiply(by: row)
        try expect(view, [300, 1_040, 1_500])
        try x.divide(by: row)
        try x.add(product: row, row)
        try expect(view, [130, 452, 950])
        try x.add(quotient: row, row, scaledBy: -1)
        try x.interpolate(to: x.zerosLike(), weight: 1)
        try expect(view, [0, 0, 0])
        try x.copy(from: Tensor([1, 2, 3] as [Int], [3]))
        try expect(view, [1, 2, 3])
        var last = try x.sliced(1, from: -1)
        try last.fill(with: 7)
        try expect(x, [1, 2, 7, 1, 2, 7])
        var negative = try Tensor([-1, 2] as [Float], [2])
        try negative.applySilu()
        try expectClose(negative, Tensor([-0.26894143, 1.7615942] as [Float], [2]))
    }

    // MARK: - Shaping

    @Test func newShapes() throws {
        try expect(a.reshaped(3, -1), [1, -2, 3, 4, 5, -6], [3, 2])
        try expect(a.viewed([6]), [1, -2, 3, 4, 5, -6], [6])
        #expect(throws: SwanError.self) { try a.transposed(0, 1).viewed([6]) }
        try expect(a.permuted(1, 0), [1, 4, -2, 5, 3, -6], [3, 2])
        try expect(row.unsqueezed(0).expanded([2, -1]), [10, 20, 30, 10, 20, 30], [2, 3])
        #expect(try a.unsqueezed(1).shape == [2, 1, 3])
        #expect(try a.unsqueezed(1).squeezed(1).shape == [2, 3])
        let deep = try Tensor.zeros([2, 3, 4, 5])
        #expect(try deep.flattened().shape == [120])
        #expect(try deep.flattened(from: 1, to: 2).shape == [2, 12, 5])
        #expect(try deep.flattened(from: -2).shape == [2, 3, 20])
        #expect(try deep.unflattened(-1, [5, 1]).shape == [2, 3, 4, 5, 1])
        #expect(try deep.unflattened(2, [2, -1]).shape == [2, 3, 2, 2, 5])
        let lastly = try deep.contiguous(.channelsLast)
        #expect(lastly.strides == [60, 1, 15, 3])
    }

    @Test func parts() throws {
        try expect(a.sliced(1, 0..<3, step: 2), [1, 3, 4, -6], [2, 2])
        try expect(a.sliced(1, from: -2), [-2, 3, 5, -6], [2, 2])
        try expect(a.selected(1, -1), [3, -6], [2])
        try expect(a.narrowed(1, 1, 2), [-2, 3, 5, -6], [2, 2])
        #expect(throws: SwanError.self) { try a.narrowed(1, 2, 2) }
        let parts = try a.split([1, 2], dim: 1)
        #expect(parts.map(\.shape) == [[2, 1], [2, 2]])
        try expect(parts[1], [-2, 3, 5, -6])
        #expect(try a.chunked(3, dim: 1).map(\.shape) == [[2, 1], [2, 1], [2, 1]])
        #expect(throws: SwanError.self) { try a.chunked(2, dim: 1) }
        try expect(a.unbound()[1], [4, 5, -6], [3])
        let picked = try Tensor([2, 0] as [Int], [2])
        try expect(a.indexSelected(1, picked), [3, 1, -6, 4], [2, 2])
        try expect(a.gathered(1, picked.reshaped(2, 1)), [3, 4], [2, 1])
        try expect(embedding(a, Tensor([1, 0, 1] as [Int], [3])), [4, 5, -6, 1, -2, 3, 4, 5, -6])
        #expect(throws: SwanError.self) { try embedding(a, Tensor([2] as [Int], [1])) }
    }

    @Test func manyParts() throws {
        let parts = try Tensor.arange(0, 300).unbound()
        #expect(parts.count == 300)
        #expect(try parts[299].item() == 299)
    }

    @Test func joined() throws {
        try expect(concatenated([row, row * 2]), [10, 20, 30, 20, 40, 60], [6])
        try expect(stacked([row, row * 2], dim: 1), [10, 20, 20, 40, 30, 60], [3, 2])
        try expect(row.repeated([2, 1]), [10, 20, 30, 10, 20, 30], [2, 3])
        try expect(row.repeatedInterleaved(2, dim: 0), [10, 10, 20, 20, 30, 30], [6])
        try expect(row.padded([1, 2]), [0, 10, 20, 30, 0, 0], [6])
        try expect(row.padded([1, 0], value: -1), [-1, 10, 20, 30], [4])
        try expect(
            row.unsqueezed(0).padded([1, 1], mode: "reflect"),
            [20, 10, 20, 30, 20],
            [1, 5]
        )
        try expect(a.flipped([1]), [3, -2, 1, -6, 5, 4])
        try expect(a.rolled([1], dims: [1]), [3, 1, -2, -6, 4, 5])
    }

    // MARK: - Reductions

    @Test func reductions() throws {
        #expect(try a.sum().item() == 5)
        try expect(a.sum([0]), [5, 3, -3], [3])
        try expect(a.mean([1], keepDim: true), [2.0 / 3, 1], [2, 1])
        #expect(try a.max().item() == 5)
        try expect(a.max([1]), [3, 5], [2])
        try expect(a.min([0], keepDim: true), [1, -2, -6], [1, 3])
        try expect(row.variance(), [200.0 / 3], [])
        try expect(row.variance(correction: 1), [100], [])
        #expect(try a.argmax(1).array() == [2, 1])
        try expect(row.cumulativeSum(0), [10, 30, 60])
        #expect(try (a .> -7).all())
        #expect(try !(a .> 0).all())
        try expect(Tensor([3, 4] as [Float], [2]).norm(), [5], [])
        try expectClose(
            row.softmax(),
            Tensor([2.0611537e-9, 4.539787e-5, 0.9999546] as [Float], [3])
        )
        let (values, indices) = try a.sorted(descending: true)
        try expect(values, [3, 1, -2, 5, 4, -6])
        #expect(try indices.array() == [2, 0, 1, 1, 0, 2])
        try expectClose(cosineSimilarity(a, a * 2), .ones([2]))
        try expectClose(cosineSimilarity(row, -row, dim: 0), Tensor([-1] as [Float], []))
    }

    // MARK: - Comparison and selection

    @Test func comparisons() throws {
        #expect(try (a .> 2).array() == [false, false, true, true, true, false])
        #expect(try (a .< -2).array() == [false, false, false, false, false, true])
        #expect(try (a .== 5).array() == [false, false, false, false, true, false])
        let zero = try a.zerosLike()
        #expect(try (a .> zero).array() == [true, false, true, true, true, false])
        #expect(try (a .< zero).array() == [false, true, false, false, false, true])
        #expect(try (zero .<= zero).all())
        #expect(try (a .== a).all())
        try expect(a.filled(where: a .< 0, with: 0), [1, 0, 3, 4, 5, 0])
        try expect(minimum(a, zero), [0, -2, 0, 0, 0, -6])
        try expect(maximum(a, zero), [1, 0, 3, 4, 5, 0])
        let odd = try Tensor([1, .nan, -.infinity] as [Float], [3])
        #expect(try odd.isFinite().array() == [true, false, false])
        #expect(try !odd.isAllFinite())
        #expect(try Tensor([3e38, 3e38] as [Float], [2]).isAllFinite())
        #expect(try Tensor([65_000, 65_000] as [Float], [2]).to(.float16).isAllFinite())
    }

    // MARK: - Creation

    @Test func creation() throws {
        try expect(.zeros([2]), [0, 0])
        try expect(.full([2], 1.5), [1.5, 1.5])
        try expect(.arange(1, 8, step: 3), [1, 4, 7])
        try expect(.linspace(0, 1, count: 5), [0, 0.25, 0.5, 0.75, 1])
        try expect(Tensor.ones([2, 2]).lowerTriangle(), [1, 0, 1, 1])
        try expect(Tensor.ones([2, 2]).lowerTriangle(diagonal: -1), [0, 0, 1, 0])
        #expect(try Tensor.ones([2], .bfloat16).dtype == .bfloat16)
        #expect(try Tensor.arange(0, 3, .int64).array() == [0, 1, 2])
        #expect(try Tensor.empty([3, 0]).shape == [3, 0])
        #expect(try a.to(.float64).onesLike().dtype == .float64)
    }
}

/// Arguments of every kind and size; short lists are stored inline, long ones on the heap.
struct ArgumentTests {
    @Test(arguments: [0, 1, 15, 16, 17, 400]) func lists(_ count: Int) throws {
        let ones = Array(repeating: 1, count: min(count, 60))
        #expect(try Tensor.zeros(ones).shape == ones)
        let parts = try (0..<count).map { try Tensor([Float($0)], [1]) }
        guard count > 0 else { return }
        #expect(try concatenated(parts).array() == (0..<count).map(Float.init))
    }

    @Test func severalListsInACall() throws {
        let x = try Tensor.arange(0, 24).reshaped(1, 1, 2, 3, 4)
        let kernel = try Tensor.ones([1, 1, 1, 3, 1])
        let y = try conv3d(x, kernel, nil, stride: [1, 1, 2], padding: [0, 0, 0])
        #expect(try y.array() == [12, 18, 48, 54] as [Float])
        let shift = (0..<9).map { $0 }
        let wide = try Tensor.zeros(Array(repeating: 2, count: 9))
        #expect(try wide.rolled(shift, dims: shift).shape == wide.shape)
    }

    @Test func strings() throws {
        let x = try Tensor([0, 1, 2] as [Float], [1, 3])
        for mode in ["constant", "reflect", "replicate", "circular"] {
            #expect(try x.padded([1, 0], mode: mode).shape == [1, 4])
        }
        let long = String(repeating: "no such mode ", count: 30) + "é"
        let error = #expect(throws: SwanError.self) { try x.padded([1, 0], mode: long) }
        #expect(error?.message.contains(long) == true)
        #expect(throws: SwanError.self) { try x.padded([1, 0], mode: "") }
    }

    @Test func booleansAndAbsentTensors() throws {
        let x = try Tensor.arange(0, 6).reshaped(2, 3)
        let rows = try Tensor([1] as [Int], [1])
        let columns = try Tensor([2] as [Int], [1])
        let index = Operator("aten::index", "Tensor")
        #expect(try index(x, [rows, columns] as [Tensor?]).array() == [5] as [Float])
        #expect(try index(x, [nil, columns] as [Tensor?]).array() == [2, 5] as [Float])
        #expect(try x.sum([1], keepDim: true).shape == [2, 1])
    }

    @Test func ownersMayCallOperatorsWhileReleased() throws {
        final class Caller: @unchecked Sendable {
            let memory = UnsafeMutablePointer<Float>.allocate(capacity: 4)

            deinit {
                memory.deallocate()
                do {
                    #expect(try Tensor.ones([4]).sum().item() == 4)
                } catch {
                    Issue.record(error)
                }
            }
        }
        for _ in 0..<3 {
            let owner = Caller()
            owner.memory.update(repeating: 2, count: 4)
            let x = try Tensor(memory: owner.memory, [4], .float32, owner: owner)
            #expect(try (x * x).sum().item() == 16)
        }
    }

    /// Compares all float8 values, including NaN, with the engine's conversion.
    @Test(arguments: [DType.float8e4m3, .float8e5m2], [DType.float32, .float16, .bfloat16])
    func float8IsWidened(_ narrow: DType, _ wide: DType) throws {
        let all = try Tensor((0..<256).map { Float($0) }, [256]).to(.uint8)
        let numbers = try Operator("aten::view", "dtype")(all, narrow)
        let (ours, theirs) = (try numbers.widened(to: wide), try numbers.to(wide))
        #expect(ours.dtype == wide)
        let pairs = try zip(ours.array(of: Float.self), theirs.array(of: Float.self))
        #expect(pairs.allSatisfy { $0 == $1 || $0.isNaN && $1.isNaN })
        #expect(try ours.array(of: Float.self).contains { $0.isNaN })
        // Also noncontiguous elements and other dtypes.
        let turned = try numbers.reshaped(16, 16).transposed(0, 1)
        try expectClose(
            turned.sliced(1, 0..<7).widened(to: wide),
            turned.sliced(1, 0..<7).to(wide),
            relative: 0,
            absolute: 0
        )
        let half = try Tensor([Float(0.7)], [1])
        try expectClose(
            turned.sliced(1, 0..<7).widened(to: wide, times: half),
            turned.sliced(1, 0..<7).to(.float32) * half,
            relative: wide == .bfloat16 ? 0.004 : 0.001
        )
        #expect(throws: SwanError.self) {
            try numbers.widened(to: wide, times: Tensor.ones([2]))
        }
        #expect(try numbers.widened(to: .float64).dtype == .float64)
        #expect(try numbers.widened(to: narrow).dtype == narrow)
    }
}
