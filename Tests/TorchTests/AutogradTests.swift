import GoldenSupport
import Testing
import Torch
import SwanSystem

struct AutogradTests {
    /// Combines products, broadcasting, a norm, softmax and a selection.
    private func loss(_ x: Tensor, _ w: Tensor) throws -> Tensor {
        let y = try rmsNorm(
            matmul(x, w).gelu(tanh: true) + x.selected(1, 0).unsqueezed(1),
            weight: nil,
            eps: 1e-3
        )
        return try (y.softmax() * y.sin()).sum() + (w * w).mean()
    }

    @Test func gradientsMatchFiniteDifferences() throws {
        let generator = try Generator(seed: 2)
        let x = try Tensor.randn([4, 3], generator, .float64)
        let w = try Tensor.randn([3, 5], generator, .float64)
        try x.setRequiresGrad()
        try w.setRequiresGrad()
        let found = try gradients(of: loss(x, w), for: [x, w])
        try x.setRequiresGrad(false)
        try w.setRequiresGrad(false)
        let h = 1e-6
        for (index, leaf) in [x, w].enumerated() {
            let gradient: [Double] = try #require(found[index]).array()
            for element in 0..<leaf.count {
                func shifted(_ by: Double) throws -> Double {
                    var values: [Double] = try leaf.array()
                    values[element] += by
                    let moved = try Tensor(values, leaf.shape)
                    return try (index == 0 ? loss(moved, w) : loss(x, moved)).item()
                }
                let slope = try (shifted(h) - shifted(-h)) / (2 * h)
                #expect(abs(gradient[element] - slope) < 1e-7)
            }
        }
    }

    @Test func unrelatedInputsHaveNoGradient() throws {
        let (a, b) = (try Tensor.ones([2]), try Tensor.ones([2]))
        try a.setRequiresGrad()
        try b.setRequiresGrad()
        let found = try gradients(of: (a * 3).sum(), for: [a, b])
        #expect(try found[0]?.array() == [3, 3] as [Float])
        #expect(found[1] == nil)
    }

    @Test func disablesRecording() throws {
        let x = try Tensor.ones([2])
        try x.setRequiresGrad()
        #expect(try (x * 2).requiresGrad)
        #expect(try !(x * 2).detached().requiresGrad)
        #expect(try !withoutGradients { try x * 2 }.requiresGrad)
        #expect(try !inference { try x * 2 }.requiresGrad)
        #expect(try !inference { try withoutGradients { try x * 2 } }.requiresGrad)
        #expect(try (x * 2).requiresGrad)
    }

    @Test func restoresRecordingAfterAnError() throws {
        let x = try Tensor.ones([2])
        try x.setRequiresGrad()
        #expect(throws: SwanError.self) { try inference { try x.reshaped(5) } }
        #expect(throws: SwanError.self) { try withoutGradients { try x.reshaped(5) } }
        #expect(try (x * 2).requiresGrad)
    }

    @Test func detachedSharesMemory() throws {
        var x = try Tensor.ones([2])
        let other = try x.detached()
        try x.fill(with: 4)
        #expect(try other.array() == [4, 4] as [Float])
    }

    @Test func refusesInvalidRequests() throws {
        let x = try Tensor.ones([2])
        let unrecorded = #expect(throws: SwanError.self) { try gradients(of: x.sum(), for: [x]) }
        #expect(unrecorded?.code == .invalidArgument)
        try x.setRequiresGrad()
        let notOne = #expect(throws: SwanError.self) { try gradients(of: x * 2, for: [x]) }
        #expect(notOne?.code == .invalidArgument)
        let integers = try Tensor.zeros([2], .int64)
        #expect(throws: SwanError.self) { try integers.setRequiresGrad() }
    }
}
