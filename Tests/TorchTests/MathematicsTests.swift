import Foundation
import GoldenSupport
import Testing
import Torch

/// Compares operators with the same formulas computed in double precision.
struct MathematicsTests {
    private let values: [Double] = [-3, -1.25, -0.5, 0, 0.25, 1, 2.5, 4]

    private func expectMap(
        _ x: Tensor,
        _ inputs: [Double],
        sourceLocation: SourceLocation = #_sourceLocation,
        _ function: (Double) -> Double
    ) throws {
        try expectClose(
            x,
            Tensor(inputs.map(function), [inputs.count]),
            relative: 1e-12,
            absolute: 1e-12,
            sourceLocation: sourceLocation
        )
    }

    @Test func elementwise() throws {
        let x = try Tensor(values, [values.count])
        let positive = values.filter { $0 > 0 }
        let p = try Tensor(positive, [positive.count])
        try expectMap(x.exp(), values, Foundation.exp)
        try expectMap(p.log(), positive, Foundation.log)
        try expectMap(x.sin(), values, Foundation.sin)
        try expectMap(x.cos(), values, Foundation.cos)
        try expectMap(p.squareRoot(), positive) { $0.squareRoot() }
        try expectMap(p.reciprocalSquareRoot(), positive) { 1 / $0.squareRoot() }
        try expectMap(x.abs(), values) { $0.magnitude }
        try expectMap(x.rounded(), values) { $0.rounded(.toNearestOrEven) }
        try expectMap(x.floor(), values) { $0.rounded(.down) }
        try expectMap(x.sigmoid(), values) { 1 / (1 + Foundation.exp(-$0)) }
        try expectMap(x.tanh(), values, Foundation.tanh)
        try expectMap(x.relu(), values) { max($0, 0) }
        try expectMap(x.silu(), values) { $0 / (1 + Foundation.exp(-$0)) }
        try expectMap(x.softplus(), values) { Foundation.log(1 + Foundation.exp($0)) }
        try expectMap(x.gelu(), values) { 0.5 * $0 * (1 + erf($0 / 2.0.squareRoot())) }
        try expectMap(x.gelu(tanh: true), values) { x in
            let inner = (2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)
            return 0.5 * x * (1 + Foundation.tanh(inner))
        }
        try expectMap(x.clamped(min: -1), values) { max($0, -1) }
        try expectMap(x.clamped(max: 2), values) { min($0, 2) }
    }

    @Test func products() throws {
        let generator = try Generator(seed: 5)
        let a = try Tensor.randn([3, 4], generator, .float64)
        let b = try Tensor.randn([4, 2], generator, .float64)
        let bias = try Tensor.randn([2], generator, .float64)
        let (x, y): ([Double], [Double]) = (try a.array(), try b.array())
        var expected = [Double](repeating: 0, count: 6)
        for (row, column) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)] {
            for inner in 0..<4 {
                expected[row * 2 + column] += x[row * 4 + inner] * y[inner * 2 + column]
            }
        }
        let product = try Tensor(expected, [3, 2])
        try expectClose(matmul(a, b), product, relative: 1e-12)
        try expectClose(linear(a, b.transposed(0, 1)), product, relative: 1e-12)
        try expectClose(linear(a, b.transposed(0, 1), bias), product + bias, relative: 1e-12)
    }

    @Test func norms() throws {
        let generator = try Generator(seed: 6)
        let x = try Tensor.randn([5, 8], generator, .float64)
        let (weight, bias) = (
            try Tensor.randn([8], generator, .float64), try Tensor.randn([8], generator, .float64)
        )
        let centered = try x - x.mean([1], keepDim: true)
        let deviation = try (x.variance([1], keepDim: true) + 1e-3).squareRoot()
        try expectClose(layerNorm(x, eps: 1e-3), centered / deviation, relative: 1e-10)
        try expectClose(
            layerNorm(x, weight: weight, bias: bias, eps: 1e-3),
            centered / deviation * weight + bias,
            relative: 1e-10
        )
        let root = try ((x * x).mean([1], keepDim: true) + 1e-3).squareRoot()
        try expectClose(rmsNorm(x, weight: weight, eps: 1e-3), x / root * weight, relative: 1e-10)
    }

    @Test func attentionIsSoftmaxOfScores() throws {
        let generator = try Generator(seed: 7)
        let q = try Tensor.randn([2, 3, 5, 8], generator)
        let k = try Tensor.randn([2, 3, 7, 8], generator)
        let v = try Tensor.randn([2, 3, 7, 8], generator)
        let mask = try Tensor.randn([2, 1, 5, 7], generator)
        let scores = try matmul(q, k.transposed(2, 3))
        try expectClose(
            scaledDotProductAttention(q, k, v),
            matmul((scores / 8.0.squareRoot()).softmax(), v),
            relative: 1e-4,
            absolute: 1e-5
        )
        try expectClose(
            scaledDotProductAttention(q, k, v, mask: mask, scale: 0.5),
            matmul((scores * 0.5 + mask).softmax(), v),
            relative: 1e-4,
            absolute: 1e-5
        )
    }

    @Test func convolutionsSumOverWindows() throws {
        let generator = try Generator(seed: 8)
        let x = try Tensor.randn([1, 2, 3, 4, 5], generator, .float64)
        let w = try Tensor.randn([3, 2, 2, 3, 3], generator, .float64)
        let bias = try Tensor.randn([3], generator, .float64)
        let y = try conv3d(x, w, bias, stride: [1, 2, 1], padding: [0, 1, 1])
        #expect(y.shape == [1, 3, 2, 2, 5])
        let padded = try x.padded([1, 1, 1, 1])
        for (o, t, i, j) in [(0, 0, 0, 0), (1, 1, 1, 2), (2, 0, 1, 4)] {
            let window = try padded.selected(0, 0)
                .narrowed(1, t, 2).narrowed(2, 2 * i, 3).narrowed(3, j, 3)
            let expected = try (window * w.selected(0, o)).sum().item() + bias.selected(0, o).item()
            let actual = try y.selected(0, 0).selected(0, o).selected(0, t).selected(0, i)
                .selected(0, j).item()
            #expect(abs(actual - expected) < 1e-12)
        }
        // A kernel of one frame is a 2D convolution.
        let flat = try w.sliced(2, 0..<1)
        try expectClose(
            conv2d(x.selected(2, 1), flat.squeezed(2), bias, padding: [1, 1]),
            conv3d(x, flat, bias, padding: [0, 1, 1]).selected(2, 1),
            relative: 1e-10,
            absolute: 1e-12
        )
    }

    @Test func poolingAndUpsampling() throws {
        let x = try Tensor((0..<16).map(Float.init), [1, 1, 4, 4])
        #expect(try x.averagePooled2d(2, stride: 2).array() == [2.5, 4.5, 10.5, 12.5] as [Float])
        #expect(try x.maxPooled2d(2, stride: 2).array() == [5, 7, 13, 15] as [Float])
        let small = try Tensor([1, 2] as [Float], [1, 1, 1, 2])
        #expect(try small.upsampledNearest2x().array() == [1, 1, 2, 2, 1, 1, 2, 2] as [Float])
        let wide = try small.resizedBilinear(height: 1, width: 4)
        #expect(try wide.array() == [1, 1.25, 1.75, 2] as [Float])
    }

    @Test func eigenvectorsOfASymmetricMatrix() throws {
        let m = try Tensor([2, 1, 1, 2] as [Double], [2, 2])
        let (eigenvalues, vectors) = try m.symmetricEigen()
        try expectClose(eigenvalues, Tensor([1, 3] as [Double], [2]), relative: 1e-12)
        try expectClose(
            matmul(m, vectors),
            vectors * eigenvalues,
            relative: 1e-12,
            absolute: 1e-12
        )
    }
}

/// Compares with `torch.nn.functional.interpolate` with `antialias=True` (Goldens/resize_aa).
struct ResizeTests {
    @Test(arguments: 0..<4) func antialiased(_ index: Int) throws {
        let golden = try Golden("resize_aa")
        let expected = try golden.output("float_\(index)")
        let resized = try golden.input("frame_\(index)").to(.float32).unsqueezed(0)
            .resizedAntialiased(height: expected.size(1), width: expected.size(2)).selected(0, 0)
        try expectClose(resized, expected, within: golden.tolerance)
        // Bytes are the floats rounded half to even, and may differ only near a half.
        let bytes: [Float] = try resized.rounded().clamped(min: 0, max: 255).to(.uint8).array()
        let theirs: [Float] = try golden.output("uint8_\(index)").array()
        let exact: [Float] = try expected.array()
        var compared = 0
        for (byte, (their, float)) in zip(bytes, zip(theirs, exact))
        where abs(abs(float - float.rounded(.down)) - 0.5) > 1e-3 {
            #expect(byte == their)
            compared += 1
        }
        #expect(compared > exact.count * 8 / 10)
    }
}
