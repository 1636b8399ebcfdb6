import SwanModels
import Torch

/// Writes a linear code into the weights of an autoencoder of Wan 2.1's kind.
struct LinearCodeWriter {
    /// Weights under their keys; convolutions are [outputs, inputs, ...].
    private(set) var weights: [String: Tensor]
    private let config: WanVAEConfig

    /// A level's way to half its size, kept for the way back.
    private struct Step {
        /// What came in: [N, T, H, W, inputs].
        let source: Tensor
        /// Channels between the two halves of the step, in space and in time.
        let channels: Int
        /// Nil where frames stay single.
        let pairs: PairCode?
    }

    /// Outputs that hold no signal yet begin this much smaller than others.
    private static let spare = 0.1
    /// Where on SiLU's nearly straight part a signal of deviation 1 lies. Further out is straighter,
    /// but the gradients of what takes the offset off again grow with it.
    private static let offset = 3.5

    init(_ config: WanVAEConfig, _ weights: [String: Tensor]) {
        self.config = config
        self.weights = weights
    }

    /// Measures `patches` [N, T, H, W, C] on their way through the levels and writes all weights.
    mutating func write(_ patches: Tensor) throws(TorchError) {
        let encoderDims = [1] + config.dimMult
        let first = try PrincipalComponents(of: patches, count: config.baseDim)
        try clear("encoder.conv1.weight")
        try set(
            "encoder.conv1.weight",
            kernelAt: [2, 1, 1],
            first.directions.transposed(0, 1)
        )
        try set("encoder.conv1.bias", -first.meanCoordinates())
        var code = try first.coordinates(of: patches)

        var steps: [Step] = []
        var layer = 0
        for level in config.dimMult.indices {
            let inputs = encoderDims[level] * config.baseDim
            let outputs = encoderDims[level + 1] * config.baseDim
            if inputs != outputs {
                try pass(code.size(-1), through: "encoder.downsamples.\(layer).shortcut", scale: 0)
            }
            layer += config.numResBlocks
            guard level < config.dimMult.count - 1 else { break }
            let limit = level == config.dimMult.count - 2 ? min(outputs, config.zDim) : outputs
            steps.append(try halve(&code, "encoder.downsamples.\(layer)", outputs, limit, level))
            layer += 1
        }
        let latents = try Self.deviations(of: code)
        try writeMiddle(latents)
        try writeDecoder(steps, code, patches, first.mean, latents)
    }

    // MARK: - Encoder

    /// Writes one downsampling layer; `code` [N, T, H, W, C] becomes what comes out of it.
    private mutating func halve(
        _ code: inout Tensor,
        _ key: String,
        _ outputs: Int,
        _ limit: Int,
        _ level: Int
    ) throws(TorchError) -> Step {
        let source = code
        let inputs = code.size(-1)
        let (n, t, h, w) = (code.size(0), code.size(1), code.size(2) / 2, code.size(3) / 2)
        let squares = try code.reshaped(n, t, h, 2, w, 2, inputs).permuted(0, 1, 2, 4, 6, 3, 5)
            .reshaped(n, t, h, w, 4 * inputs)
        let components = try PrincipalComponents(of: squares, count: outputs)
        // Four equal pixels would double in an orthonormal code: halved, levels keep their size.
        let kernel = try components.directions.transposed(0, 1).reshaped(-1, inputs, 2, 2) * 0.5
        let count = kernel.size(0)
        try clear("\(key).resample.1.weight")
        for row in 0..<2 {
            for column in 0..<2 {
                try set(
                    "\(key).resample.1.weight",
                    kernelAt: [row, column],
                    kernel.selected(3, column).selected(2, row)
                )
            }
        }
        try set("\(key).resample.1.bias", components.meanCoordinates() * -0.5)
        code = try components.coordinates(of: squares) * 0.5

        guard config.temporalDownsample[level] else {
            return Step(source: source, channels: count, pairs: nil)
        }
        let pairs = try PairCode(of: code, count: limit)
        let name = "\(key).time_conv.weight"
        try clear(name)
        for (output, part) in pairs.parts.enumerated() {
            try set(name, output, part.channel, [1, 0, 0], 0.5)
            try set(name, output, part.channel, [2, 0, 0], 0.5 * part.sign)
        }
        code = try pairs.coordinates(of: code)
        return Step(source: source, channels: count, pairs: pairs)
    }

    /// Writes what lies between the two halves: latents of deviation 1.
    private mutating func writeMiddle(_ deviations: [Double]) throws(TorchError) {
        let z = config.zDim
        let width = weights["encoder.head.0.gamma"]?.size(0) ?? 0
        let signals = Array(deviations.prefix(min(z, width - 1)))
        let whitening = try Tensor(
            (0..<(2 * z)).flatMap { row in
                signals.enumerated().map { $0.offset == row ? Float(1 / $0.element) : 0 }
            },
            [2 * z, signals.count]
        )
        let kernel = try whitening.unsqueezed(-1).unsqueezed(-1).padded([1, 1, 1, 1])
        try writeHead("encoder", after: "encoder.middle.2", signals, kernel)
        // The second half is the logarithm of the variance: certain.
        var doubt = try tensor("encoder.head.2.bias").narrowed(0, z, z)
        try doubt.fill(with: -8)
        for (key, size) in [("conv1.weight", 2 * z), ("conv2.weight", z)] {
            try clear(key)
            for channel in 0..<size { try set(key, channel, channel, [0, 0, 0], 1) }
        }
    }

    /// Makes a half's last norm and SiLU linear, its last convolution `kernel` [outputs, signals, 3, 3].
    ///
    /// A large constant in a spare channel rules the norm, so that it divides by nearly the same number
    /// everywhere; an offset moves every signal to where SiLU is nearly straight.
    private mutating func writeHead(
        _ half: String,
        after block: String,
        _ deviations: [Double],
        _ kernel: Tensor
    ) throws(TorchError) {
        let width = try tensor("\(half).head.0.gamma").size(0)
        let count = deviations.count
        var bias = deviations.map { $0 * Self.offset } + Array(repeating: 0, count: width - count)
        bias[count] = 40 * (deviations.max() ?? 1)
        let length = bias.map { $0 * $0 }.reduce(0, +).squareRoot()
        try set("\(block).residual.6.bias", Tensor(bias.map(Float.init), [width]))

        var gamma = [Double](repeating: 1, count: width)
        for (channel, deviation) in deviations.enumerated() {
            gamma[channel] = length / Double(width).squareRoot() / deviation
        }
        gamma[count] = 0.05
        var norm = try tensor("\(half).head.0.gamma").flattened()
        try norm.copy(from: Tensor(gamma.map(Float.init), [width]))

        let scaled = try kernel * Tensor(deviations.map(Float.init), [count, 1, 1])
        let name = "\(half).head.2.weight"
        try clear(name)
        for row in 0..<3 {
            for column in 0..<3 {
                let tap = try scaled.selected(3, column).selected(2, row)
                try set(name, kernelAt: [2, row, column], tap)
            }
        }
        try set("\(half).head.2.bias", scaled.sum([1, 2, 3]) * -Self.offset)
    }

    // MARK: - Decoder

    /// Writes the way back from `code`, each convolution fitted to what reaches it.
    private mutating func writeDecoder(
        _ steps: [Step],
        _ code: Tensor,
        _ patches: Tensor,
        _ mean: Tensor,
        _ latents: [Double]
    ) throws(TorchError) {
        let dims = [config.dimMult[config.dimMult.count - 1]] + config.dimMult.reversed()
        let key = "decoder.conv1.weight"
        try clear(key)
        var signals = try min(tensor(key).size(0), min(config.zDim, latents.count))
        for (channel, deviation) in latents.prefix(signals).enumerated() {
            try set(key, channel, channel, [2, 1, 1], deviation)
        }
        // A part of the clips is enough for a few thousand numbers.
        let clips = min(code.size(0), 32)
        var picture = try code.sliced(0, 0..<clips).narrowed(4, 0, signals)
        var layer = 0
        for level in dims.indices.dropLast() {
            let inputs = dims[level] * config.decoderBaseDim / (level > 0 ? 2 : 1)
            let outputs = dims[level + 1] * config.decoderBaseDim
            if inputs != outputs {
                try pass(
                    signals,
                    through: "decoder.upsamples.\(layer).shortcut",
                    scale: Self.spare
                )
            }
            layer += config.numResBlocks + 1
            guard level < steps.count else { break }
            picture = try enlarge(
                picture,
                "decoder.upsamples.\(layer)",
                steps[steps.count - 1 - level]
            )
            signals = picture.size(-1)
            layer += 1
        }
        // One channel is the constant's.
        let count = try min(tensor("decoder.head.0.gamma").size(0) - 1, signals)
        let shown = try picture.narrowed(4, 0, count)
        let kernel = try KernelFit.kernel(from: shown, to: patches.sliced(0, 0..<clips) - mean)
        try writeHead(
            "decoder",
            after: "decoder.upsamples.\(layer - 1)",
            Self.deviations(of: shown),
            kernel
        )
        var bias = try tensor("decoder.head.2.bias")
        try bias.add(mean)
    }

    /// Writes one upsampling layer, the way back of `step`, and gives what comes out of it.
    private mutating func enlarge(
        _ code: Tensor,
        _ key: String,
        _ step: Step
    ) throws(TorchError) -> Tensor {
        var frames = code
        if let pairs = step.pairs {
            let name = "\(key).time_conv.weight"
            try clear(name)
            let width = try tensor(name).size(1)
            for (input, part) in pairs.parts.prefix(code.size(-1)).enumerated()
            where part.channel < width {
                try set(name, part.channel, input, [2, 0, 0], 1)
                try set(name, width + part.channel, input, [2, 0, 0], part.sign)
            }
            frames = try pairs.frames(from: code, channels: step.channels)
                .narrowed(4, 0, min(step.channels, width))
        }
        let name = "\(key).resample.1.weight"
        var kernel = try tensor(name)
        try kernel.multiply(by: Self.spare)
        let outputs = min(kernel.size(0), step.source.size(-1))
        // One kernel serves all four pixels that come of one, and cannot know at which it is: there is
        // no exact way back, but a nearest one.
        let doubled = try frames.repeatedInterleaved(2, dim: 2).repeatedInterleaved(2, dim: 3)
        let target = try step.source.sliced(0, 0..<doubled.size(0)).narrowed(4, 0, outputs)
        let fitted = try KernelFit.kernel(from: doubled, to: target)
        var used = try kernel.narrowed(0, 0, outputs)
        try used.fill(with: 0)
        var place = try used.narrowed(1, 0, fitted.size(1))
        try place.copy(from: fitted)
        return try KernelFit.apply(fitted, doubled)
    }

    // MARK: - Writing

    /// Lets the first `count` channels pass a shortcut unchanged; its other outputs are scaled.
    private mutating func pass(
        _ count: Int,
        through key: String,
        scale: Double
    ) throws(TorchError) {
        var weight = try tensor("\(key).weight")
        try weight.multiply(by: scale)
        let passing = min(count, min(weight.size(0), weight.size(1)))
        var used = try weight.narrowed(0, 0, passing)
        try used.fill(with: 0)
        for channel in 0..<passing { try set("\(key).weight", channel, channel, [0, 0, 0], 1) }
    }

    private func tensor(_ key: String) throws(TorchError) -> Tensor {
        guard let tensor = weights[key] else {
            throw TorchError(.invalidWeights, "an autoencoder of Wan 2.1's kind has \(key)")
        }
        return tensor
    }

    private mutating func clear(_ key: String) throws(TorchError) {
        var tensor = try tensor(key)
        try tensor.fill(with: 0)
    }

    /// The first elements of a vector.
    private mutating func set(_ key: String, _ values: Tensor) throws(TorchError) {
        var place = try tensor(key).narrowed(0, 0, values.size(0))
        try place.copy(from: values)
    }

    /// One tap of a kernel: `matrix` [outputs, inputs] for the first channels.
    private mutating func set(
        _ key: String,
        kernelAt tap: [Int],
        _ matrix: Tensor
    ) throws(TorchError) {
        var place = try tensor(key).narrowed(0, 0, matrix.size(0)).narrowed(1, 0, matrix.size(1))
        for index in tap { place = try place.selected(2, index) }
        try place.copy(from: matrix)
    }

    /// One number of a kernel.
    private mutating func set(
        _ key: String,
        _ output: Int,
        _ input: Int,
        _ tap: [Int],
        _ value: Double
    ) throws(TorchError) {
        var place = try tensor(key).selected(0, output).selected(0, input)
        for index in tap { place = try place.selected(0, index) }
        try place.fill(with: value)
    }

    private static func deviations(of code: Tensor) throws(TorchError) -> [Double] {
        try code.pow(2).mean([0, 1, 2, 3]).squareRoot().array(of: Double.self)
    }
}
