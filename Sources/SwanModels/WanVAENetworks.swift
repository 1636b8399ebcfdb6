import SwanSystem
import Torch
import TorchNN

/// Encodes pixels (or patches of them) [B, F, H, W, C] to the mean and log variance of the latents,
/// concatenated along the channels.
struct WanVAEEncoder: Sendable {
    private let conv1: CausalConv3d
    private let levels: [any WanVAELayer]
    private let middle: WanVAEMiddle
    private let head: WanVAEHead

    init(_ weights: Weights, _ config: WanVAEConfig) throws(SwanError) {
        let dims = ([1] + config.dimMult).map { $0 * config.baseDim }
        conv1 = try CausalConv3d(weights["conv1"], config.inChannels, dims[0])
        var path = LayerPaths(weights, "downsamples", nested: config.isResidual)
        var levels: [any WanVAELayer] = []
        for level in config.dimMult.indices {
            let (inputs, outputs) = (dims[level], dims[level + 1])
            let isLast = level == config.dimMult.count - 1
            let time = !isLast && config.temporalDownsample[level]
            path.begin(level: level)
            var layers = try residualBlocks(
                config.numResBlocks,
                inputs,
                outputs,
                attention: config.hasAttention(at: level),
                &path
            )
            if !isLast { layers.append(try WanVAEDownsample(path.next(), outputs, time: time)) }
            guard config.isResidual else {
                levels += layers
                continue
            }
            let shortcut = WanVAEAverageDown(
                outputs: outputs,
                time: time ? 2 : 1,
                space: isLast ? 1 : 2
            )
            levels.append(WanVAEShortcutLevel(layers: layers, shortcut: shortcut))
        }
        self.levels = levels
        middle = try WanVAEMiddle(weights["middle"], dims[dims.count - 1])
        head = try WanVAEHead(weights["head"], dims[dims.count - 1], 2 * config.zDim)
    }

    func callAsFunction(_ x: Tensor, _ caches: inout FeatureCaches) throws(SwanError) -> Tensor {
        var y = try conv1(x, &caches)
        for layer in levels { y = try caches.run(layer, y) }
        return try head(middle(y, &caches), &caches)
    }
}

/// Decodes latents [B, F, H, W, C] to pixels, or patches of them.
struct WanVAEDecoder: Sendable {
    private let conv1: CausalConv3d
    private let middle: WanVAEMiddle
    private let levels: [any WanVAELayer]
    private let head: WanVAEHead

    init(_ weights: Weights, _ config: WanVAEConfig) throws(SwanError) {
        let mults = [config.dimMult[config.dimMult.count - 1]] + config.dimMult.reversed()
        let dims = mults.map { $0 * config.decoderBaseDim }
        conv1 = try CausalConv3d(weights["conv1"], config.zDim, dims[0])
        middle = try WanVAEMiddle(weights["middle"], dims[0])
        var path = LayerPaths(weights, "upsamples", nested: config.isResidual)
        var levels: [any WanVAELayer] = []
        let upsample = Array(config.temporalDownsample.reversed())
        for level in config.dimMult.indices {
            let isLast = level == config.dimMult.count - 1
            let time = !isLast && upsample[level]
            let outputs = dims[level + 1]
            // If there is no shortcut to add, upsampling has halved the channels.
            let inputs = level > 0 && !config.isResidual ? dims[level] / 2 : dims[level]
            path.begin(level: level)
            let mirrored = config.dimMult.count - 1 - level
            var layers = try residualBlocks(
                config.numResBlocks + 1,
                inputs,
                outputs,
                attention: config.hasAttention(at: mirrored),
                &path
            )
            if !isLast {
                layers.append(
                    try WanVAEUpsample(
                        path.next(),
                        outputs,
                        config.isResidual ? outputs : outputs / 2,
                        time: time,
                        subpixel: config.subpixelUpsample
                    )
                )
            }
            guard config.isResidual && !isLast else {
                levels += layers
                continue
            }
            let shortcut = WanVAEDuplicateUp(outputs: outputs, time: time ? 2 : 1, space: 2)
            levels.append(WanVAEShortcutLevel(layers: layers, shortcut: shortcut))
        }
        self.levels = levels
        head = try WanVAEHead(weights["head"], dims[dims.count - 1], config.outChannels)
    }

    func callAsFunction(_ x: Tensor, _ caches: inout FeatureCaches) throws(SwanError) -> Tensor {
        var y = try middle(conv1(x, &caches), &caches)
        for layer in levels { y = try caches.run(layer, y) }
        return try head(y, &caches)
    }
}

// MARK: - Shared parts

/// The layers in the middle of the encoder and the decoder: residual, attention, residual.
struct WanVAEMiddle: Sendable {
    private let before, after: WanVAEResidualBlock
    private let attention: WanVAEAttentionBlock

    init(_ weights: Weights, _ dim: Int) throws(SwanError) {
        before = try WanVAEResidualBlock(weights[0], dim, dim)
        attention = try WanVAEAttentionBlock(weights[1], dim)
        after = try WanVAEResidualBlock(weights[2], dim, dim)
    }

    func callAsFunction(_ x: Tensor, _ caches: inout FeatureCaches) throws(SwanError) -> Tensor {
        try after(attention(before(x, &caches), &caches), &caches)
    }
}

/// The final normalization and convolution of the encoder or decoder.
struct WanVAEHead: Sendable {
    private let norm: WanVAENorm
    private let conv: CausalConv3d

    init(_ weights: Weights, _ inputs: Int, _ outputs: Int) throws(SwanError) {
        norm = try WanVAENorm(weights[0], inputs)
        conv = try CausalConv3d(weights[2], inputs, outputs)
    }

    func callAsFunction(_ x: Tensor, _ caches: inout FeatureCaches) throws(SwanError) -> Tensor {
        try conv(norm.activated(x), &caches)
    }
}

/// The residual blocks of a level, each followed by attention if the level has it.
private func residualBlocks(
    _ count: Int,
    _ inputs: Int,
    _ outputs: Int,
    attention: Bool,
    _ path: inout LayerPaths
) throws(SwanError) -> [any WanVAELayer] {
    var layers: [any WanVAELayer] = []
    for index in 0..<count {
        layers.append(
            try WanVAEResidualBlock(path.next(), index == 0 ? inputs : outputs, outputs)
        )
        if attention { layers.append(try WanVAEAttentionBlock(path.next(), outputs)) }
    }
    return layers
}

/// The numbering of layers in a checkpoint: Wan 2.1 counts through all levels, Wan 2.2 within each.
private struct LayerPaths {
    private let root: Weights
    private let name: String
    private let nested: Bool
    private var place: Weights
    private var index = 0

    init(_ weights: Weights, _ name: String, nested: Bool) {
        root = weights[name]
        place = root
        self.name = name
        self.nested = nested
    }

    mutating func begin(level: Int) {
        guard nested else { return }
        place = root[level][name]
        index = 0
    }

    mutating func next() -> Weights {
        defer { index += 1 }
        return place[index]
    }
}

extension WanVAEConfig {
    /// Whether the level at `1 / 2^level` of the size has attention; Wan 2.2 has none in its
    /// levels.
    fileprivate func hasAttention(at level: Int) -> Bool {
        !isResidual && attnScales.contains(1 / Double(1 << level))
    }
}
