import SwanModels
import Torch
import SwanSystem

/// Writes a linear code into the weights of a Wan 2.1 style autoencoder.
struct LinearCodeWriter {
    /// The weights by key; convolutions are [outputs, inputs, ...].
    private(set) var weights: [String: Tensor]
    private let config: WanVAEConfig

    /// A downsampling step of the encoder, kept so that the decoder can invert it.
    private struct Step {
        /// The input: [N, T, H, W, inputs].
        let source: Tensor
        /// The number of channels between the spatial and the temporal half of the step.
        let channels: Int
        /// Nil if the step does not merge frames.
        let pairs: PairCode?
    }

    /// The scale of outputs that carry no signal yet.
    private static let spare = 0.1
    /// The factor by which a signal without a mirror is reduced: near zero, SiLU halves its input.
    private static let shrinking = 6.0

    init(_ config: WanVAEConfig, _ weights: [String: Tensor]) {
        self.config = config
        self.weights = weights
    }

    /// Measures `patches` [N, T, H, W, C] on their way through the levels and writes all weights
    /// except the heads; returns the resulting chain.
    mutating func write(_ patches: Tensor) throws(SwanError) -> LinearChain {
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
        let width = try tensor("encoder.head.0.gamma").size(0)
        let signals = min(code.size(-1), min(config.zDim, width - 1))
        let identity = try Tensor(
            (0..<(config.zDim * signals)).map { $0 / signals == $0 % signals ? 1 as Float : 0 },
            [config.zDim, signals]
        )
        let head = try writeDecoder(steps, code.narrowed(4, 0, signals), patches, first.mean)
        return try LinearChain(
            weights,
            config,
            encoderHead: identity.unsqueezed(-1).unsqueezed(-1).padded([1, 1, 1, 1]),
            decoderHead: head,
            decoderBias: first.mean
        )
    }

    /// Writes a chain with its heads, linearized for images like those of `clips`, [T, C, H, W]
    /// each.
    mutating func write(_ chain: LinearChain, measuredOn clips: [Tensor]) throws(SwanError) {
        var chain = chain
        let before = try Self.measured(chain, clips)
        try chain.turn(signals: before.signals, picture: before.picture)
        guard let encoderHead = chain.kernels["encoder.head"],
            let decoderHead = chain.kernels["decoder.head"],
            let decoderBias = chain.kernels["decoder.head.bias"]
        else { return }
        try chain.write(to: weights)
        let (signals, latents, picture) = try Self.measured(chain, clips)

        // Scale the latents to a standard deviation of 1.
        let sizes = try latents.pow(2).mean([0, 2, 3]).squareRoot().clamped(min: 1e-3)
        var entry = try tensor("decoder.conv1.weight")
        try entry.multiply(by: sizes.reshaped(1, -1, 1, 1, 1))
        let whitened = try encoderHead / sizes.reshaped(-1, 1, 1, 1)
        try writeHead(
            "encoder",
            after: "encoder.middle.2",
            shortcut: chain.lastShortcuts.encoder,
            Self.deviations(of: signals),
            concatenated([whitened, whitened.zerosLike()])
        )
        // The second half is the log variance: nearly deterministic.
        let z = config.zDim
        var doubt = try tensor("encoder.head.2.bias").narrowed(0, z, z)
        try doubt.fill(with: -8)
        for (key, size) in [("conv1.weight", 2 * z), ("conv2.weight", z)] {
            try clear(key)
            for channel in 0..<size { try set(key, channel, channel, [0, 0, 0], 1) }
        }
        try writeHead(
            "decoder",
            after: "decoder.upsamples.\(chain.lastLayer)",
            shortcut: chain.lastShortcuts.decoder,
            Self.deviations(of: picture),
            decoderHead
        )
        var bias = try tensor("decoder.head.2.bias")
        try bias.add(decoderBias)
    }

    // MARK: - Encoder

    /// Writes one downsampling layer and replaces `code` [N, T, H, W, C] by its output.
    private mutating func halve(
        _ code: inout Tensor,
        _ key: String,
        _ outputs: Int,
        _ limit: Int,
        _ level: Int
    ) throws(SwanError) -> Step {
        let source = code
        let inputs = code.size(-1)
        let squares = try Self.squares(of: code)
        let components = try PrincipalComponents(of: squares, count: outputs)
        // Four equal pixels would double in an orthonormal code; halving keeps the scale of each
        // level.
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

    /// Makes the last norm and SiLU of a half linear and sets its last convolution to `kernel`
    /// [outputs, signals, 3, 3].
    ///
    /// A large constant in the last channel dominates the norm, so that it divides by nearly the
    /// same number everywhere. A signal with a mirrored copy passes SiLU unchanged, since
    /// silu(a) - silu(-a) = a; other signals are scaled down before it and back up after.
    private mutating func writeHead(
        _ half: String,
        after block: String,
        shortcut: String?,
        _ deviations: [Double],
        _ kernel: Tensor
    ) throws(SwanError) {
        let width = try tensor("\(half).head.0.gamma").size(0)
        let count = deviations.count
        // The mirrored copies come from the last level's shortcut, which exists only if the number
        // of channels changes.
        let mirrors = shortcut == nil ? 0 : min(count, width - 1 - count)
        if let shortcut {
            let rows = try tensor("\(shortcut).weight")
            var spare = try rows.narrowed(0, count, width - count)
            try spare.fill(with: 0)
            var mirrored = try rows.narrowed(0, count, mirrors)
            try mirrored.copy(from: rows.narrowed(0, 0, mirrors) * -1)
        }
        let constant = 40 * (deviations.max() ?? 1)
        var bias = try tensor("\(block).residual.6.bias").narrowed(0, width - 1, 1)
        try bias.fill(with: constant)

        let length = constant / Double(width).squareRoot()
        var gamma = [Double](repeating: 1, count: width)
        var gains: [Double] = []
        for (channel, deviation) in deviations.enumerated() {
            let size = channel < mirrors ? 1 : 1 / Self.shrinking
            gamma[channel] = length / deviation * size
            if channel < mirrors { gamma[count + channel] = gamma[channel] }
            gains.append(channel < mirrors ? deviation : 2 * deviation * Self.shrinking)
        }
        gamma[width - 1] = 0.05
        var norm = try tensor("\(half).head.0.gamma").flattened()
        try norm.copy(from: Tensor(gamma.map(Float.init), [width]))

        let scaled = try kernel * Tensor(gains.map(Float.init), [count, 1, 1])
        let whole = try concatenated([scaled, scaled.narrowed(1, 0, mirrors) * -1], dim: 1)
        let name = "\(half).head.2.weight"
        try clear(name)
        for row in 0..<3 {
            for column in 0..<3 {
                let tap = try whole.selected(3, column).selected(2, row)
                try set(name, kernelAt: [2, row, column], tap)
            }
        }
        // SiLU adds a quarter of the square of a small signal.
        let excess = try scaled.narrowed(1, mirrors, count - mirrors).sum([1, 2, 3])
        try set("\(half).head.2.bias", excess * (-0.25 / (Self.shrinking * Self.shrinking)))
    }

    // MARK: - Decoder

    /// Writes the decoder for `code`, fitting each convolution to its actual input; returns the
    /// kernel [C, signals, 3, 3] of a head.
    private mutating func writeDecoder(
        _ steps: [Step],
        _ code: Tensor,
        _ patches: Tensor,
        _ mean: Tensor
    ) throws(SwanError) -> Tensor {
        let dims = [config.dimMult[config.dimMult.count - 1]] + config.dimMult.reversed()
        let key = "decoder.conv1.weight"
        try clear(key)
        var signals = try min(tensor(key).size(0), code.size(-1))
        for channel in 0..<signals { try set(key, channel, channel, [2, 1, 1], 1) }
        // A subset of the clips is enough to fit a few thousand weights.
        let clips = min(code.size(0), 32)
        var picture = try code.sliced(0, 0..<clips).narrowed(4, 0, signals)
        var layer = 0
        for level in dims.indices.dropLast() {
            let inputs = dims[level] * config.decoderBaseDim / (level > 0 ? 2 : 1)
            let outputs = dims[level + 1] * config.decoderBaseDim
            let isLast = level == steps.count
            // The last level leaves room for a constant, and for a mirrored copy of the strongest
            // signal.
            if isLast { signals = min(signals, max(1, outputs - 2)) }
            if inputs != outputs {
                try pass(
                    signals,
                    through: "decoder.upsamples.\(layer).shortcut",
                    scale: Self.spare
                )
            }
            layer += config.numResBlocks + 1
            guard !isLast else { break }
            picture = try enlarge(
                picture,
                "decoder.upsamples.\(layer)",
                steps[steps.count - 1 - level]
            )
            signals = picture.size(-1)
            layer += 1
        }
        let shown = try picture.narrowed(4, 0, signals)
        return try KernelFit.kernel(from: shown, to: patches.sliced(0, 0..<clips) - mean)
    }

    /// Writes one upsampling layer, the inverse of `step`, and returns its output.
    private mutating func enlarge(
        _ code: Tensor,
        _ key: String,
        _ step: Step
    ) throws(SwanError) -> Tensor {
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
        let isSubpixel = config.subpixelUpsample
        let outputs = min(kernel.size(0) / (isSubpixel ? 4 : 1), step.source.size(-1))
        let source = try step.source.sliced(0, 0..<frames.size(0)).narrowed(4, 0, outputs)
        // With nearest-neighbor upsampling, one kernel serves all four pixels and cannot tell them
        // apart: there is no exact inverse, only a best fit.
        let read =
            isSubpixel
            ? frames
            : try frames.repeatedInterleaved(2, dim: 2).repeatedInterleaved(2, dim: 3)
        let target = isSubpixel ? try Self.squares(of: source) : source
        let fitted = try KernelFit.kernel(from: read, to: target)
        var used = try kernel.narrowed(0, 0, fitted.size(0))
        try used.fill(with: 0)
        var place = try used.narrowed(1, 0, fitted.size(1))
        try place.copy(from: fitted)
        let result = try KernelFit.apply(fitted, read)
        return isSubpixel ? try Self.pixels(of: result) : result
    }

    /// Moves the pixels of each 2x2 block into channels: [N, T, 2 h, 2 w, C] -> [N, T, h, w, C 4].
    private static func squares(of x: Tensor) throws(SwanError) -> Tensor {
        let (n, t, h, w) = (x.size(0), x.size(1), x.size(2) / 2, x.size(3) / 2)
        return try x.reshaped(n, t, h, 2, w, 2, x.size(4)).permuted(0, 1, 2, 4, 6, 3, 5)
            .reshaped(n, t, h, w, 4 * x.size(4))
    }

    /// The inverse of `squares`.
    private static func pixels(of squares: Tensor) throws(SwanError) -> Tensor {
        let (n, t, h, w) = (squares.size(0), squares.size(1), squares.size(2), squares.size(3))
        return try squares.unflattened(-1, [squares.size(4) / 4, 2, 2])
            .permuted(0, 1, 2, 5, 3, 6, 4).reshaped(n, t, 2 * h, 2 * w, squares.size(4) / 4)
    }

    /// Runs all clips through the chain and concatenates the intermediate results.
    private static func measured(
        _ chain: LinearChain,
        _ clips: [Tensor]
    ) throws(SwanError) -> (signals: Tensor, latents: Tensor, picture: Tensor) {
        var (signals, latents, pictures): ([Tensor], [Tensor], [Tensor]) = ([], [], [])
        for clip in clips {
            signals.append(try chain.signals(of: clip))
            latents.append(try chain.latents(of: signals[signals.count - 1]))
            pictures.append(try chain.picture(of: latents[latents.count - 1]))
        }
        return (try concatenated(signals), try concatenated(latents), try concatenated(pictures))
    }

    // MARK: - Writing

    /// Sets the first `count` channels of a shortcut to the identity and scales its other outputs.
    private mutating func pass(
        _ count: Int,
        through key: String,
        scale: Double
    ) throws(SwanError) {
        var weight = try tensor("\(key).weight")
        try weight.multiply(by: scale)
        let passing = min(count, min(weight.size(0), weight.size(1)))
        var used = try weight.narrowed(0, 0, passing)
        try used.fill(with: 0)
        for channel in 0..<passing { try set("\(key).weight", channel, channel, [0, 0, 0], 1) }
    }

    private func tensor(_ key: String) throws(SwanError) -> Tensor {
        guard let tensor = weights[key] else {
            throw SwanError(.invalidWeights, "\(key): missing from the autoencoder")
        }
        return tensor
    }

    private mutating func clear(_ key: String) throws(SwanError) {
        var tensor = try tensor(key)
        try tensor.fill(with: 0)
    }

    /// Sets the first elements of a vector.
    private mutating func set(_ key: String, _ values: Tensor) throws(SwanError) {
        var place = try tensor(key).narrowed(0, 0, values.size(0))
        try place.copy(from: values)
    }

    /// Sets one tap of a kernel to `matrix` [outputs, inputs] for the first channels.
    private mutating func set(
        _ key: String,
        kernelAt tap: [Int],
        _ matrix: Tensor
    ) throws(SwanError) {
        var place = try tensor(key).narrowed(0, 0, matrix.size(0)).narrowed(1, 0, matrix.size(1))
        for index in tap { place = try place.selected(2, index) }
        try place.copy(from: matrix)
    }

    /// Sets one element of a kernel.
    private mutating func set(
        _ key: String,
        _ output: Int,
        _ input: Int,
        _ tap: [Int],
        _ value: Double
    ) throws(SwanError) {
        var place = try tensor(key).selected(0, output).selected(0, input)
        for index in tap { place = try place.selected(0, index) }
        try place.fill(with: value)
    }

    /// Returns the root mean square of each channel of signals [T, C, H, W].
    private static func deviations(of signals: Tensor) throws(SwanError) -> [Double] {
        try signals.pow(2).mean([0, 2, 3]).squareRoot().array(of: Double.self)
    }
}
