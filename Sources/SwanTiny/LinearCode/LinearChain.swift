import Foundation
import SwanModels
import SwanTraining
import Torch
import SwanSystem

/// The linear part of a Wan 2.1 style autoencoder, without its residual branches: a chain of
/// convolutions, each within one frame or one pair of frames.
///
/// Keys are the network's, tensors the slices of its kernels that the chain uses: the last tap of a
/// causal kernel, and the last two taps of the temporal convolution. The heads, whose norms and
/// SiLUs are treated as linear, are stored under `encoder.head` and `decoder.head`.
struct LinearChain: Sendable {
    var kernels: [String: Tensor]
    private let levels: Levels
    private let isSubpixel: Bool

    /// Extracts the chain from a network's weights, with separate heads.
    init(
        _ weights: [String: Tensor],
        _ config: WanVAEConfig,
        encoderHead: Tensor,
        decoderHead: Tensor,
        decoderBias: Tensor
    ) throws(SwanError) {
        levels = Levels(config)
        isSubpixel = config.subpixelUpsample
        kernels = [
            "encoder.head": encoderHead, "decoder.head": decoderHead,
            "decoder.head.bias": decoderBias,
        ]
        for key in levels.keys {
            if let weight = weights[key] { kernels[key] = try Self.part(weight, key).cloned() }
        }
    }

    /// Copies the kernels into a network's weights, except the heads.
    func write(to weights: [String: Tensor]) throws(SwanError) {
        for key in levels.keys {
            guard let weight = weights[key], let kernel = kernels[key] else { continue }
            var place = try Self.part(weight, key)
            try place.copy(from: kernel.detached())
        }
    }

    /// Returns the slice of a network's tensor that the chain uses, as
    /// [outputs, inputs, height, width] or as a bias.
    private static func part(_ weight: Tensor, _ key: String) throws(SwanError) -> Tensor {
        guard weight.rank == 5 else { return weight }
        guard key.hasPrefix("encoder"), key.hasSuffix("time_conv.weight") else {
            return try weight.selected(2, weight.size(2) - 1)
        }
        // Two taps as a kernel with one row: [outputs, inputs, 1, 2].
        return try weight.narrowed(2, 1, 2).selected(4, 0).selected(3, 0).unsqueezed(2)
    }

    /// The shortcuts of the levels next to the heads; nil if the number of channels does not change
    /// there.
    var lastShortcuts: (encoder: String?, decoder: String?) {
        (levels.encoder.last?.shortcut, levels.decoder.last?.shortcut)
    }

    /// The index of the decoder's last layer.
    var lastLayer: Int { levels.lastLayer }

    /// Rotates the inputs of the heads so that the strongest directions come first, and the heads
    /// accordingly; the chain as a whole computes the same.
    mutating func turn(signals: Tensor, picture: Tensor) throws(SwanError) {
        for (head, shortcut, read) in [
            ("encoder.head", lastShortcuts.encoder, signals),
            ("decoder.head", lastShortcuts.decoder, picture),
        ] {
            guard let shortcut, let kernel = kernels[head],
                let weight = kernels["\(shortcut).weight"], let bias = kernels["\(shortcut).bias"]
            else { continue }
            let count = kernel.size(1)
            let rows = try read.permuted(0, 2, 3, 1).reshaped(-1, count)
            let directions = try PrincipalComponents(of: rows, count: count).directions
            let back = try directions.transposed(0, 1)
            let turned = try matmul(back, weight.narrowed(0, 0, count).flattened(from: 1))
            var places = try weight.narrowed(0, 0, count)
            try places.copy(from: turned.reshaped(places.shape))
            var offsets = try bias.narrowed(0, 0, count)
            try offsets.copy(from: matmul(back, offsets.unsqueezed(1)).flattened())
            let taps = try kernel.permuted(2, 3, 0, 1)
            kernels[head] = try matmul(taps, directions).permuted(2, 3, 0, 1).contiguous()
        }
    }

    // MARK: - Encoding and decoding

    /// Returns the input of the encoder's head: patches [T, C, H, W], T = 1 + 4 n ->
    /// [1 + n, C', h, w].
    func signals(of patches: Tensor) throws(SwanError) -> Tensor {
        var x = try convolved(patches, "encoder.conv1", padding: 1)
        for level in levels.encoder {
            x = try level.shortcut.map { key throws(SwanError) in try convolved(x, key) } ?? x
            guard let resample = level.resample else { continue }
            x = try convolved(
                x.padded([0, 1, 0, 1]),
                "\(resample).resample.1",
                stride: 2
            )
            if level.time { x = try pairsJoined(x, "\(resample).time_conv") }
        }
        return try x.narrowed(1, 0, width("encoder.head"))
    }

    /// Applies the encoder's head.
    func latents(of signals: Tensor) throws(SwanError) -> Tensor {
        try convolved(signals, "encoder.head", padding: 1)
    }

    /// Returns the input of the decoder's head: latents [1 + n, z, h, w] -> [1 + 4 n, C', H, W].
    func picture(of latents: Tensor) throws(SwanError) -> Tensor {
        var x = try convolved(latents, "decoder.conv1", padding: 1)
        for level in levels.decoder {
            x = try level.shortcut.map { key throws(SwanError) in try convolved(x, key) } ?? x
            guard let resample = level.resample else { continue }
            if level.time { x = try pairsSplit(x, "\(resample).time_conv") }
            let key = "\(resample).resample.1"
            x =
                isSubpixel
                ? try convolved(x, key, padding: 1).pixelShuffled(2)
                : try convolved(x.upsampledNearest2x(), key, padding: 1)
        }
        return try x.narrowed(1, 0, width("decoder.head"))
    }

    /// Applies the decoder's head.
    func patches(of picture: Tensor) throws(SwanError) -> Tensor {
        try convolved(picture, "decoder.head", padding: 1)
    }

    /// Merges pairs of frames into one, except the first frame.
    private func pairsJoined(_ x: Tensor, _ key: String) throws(SwanError) -> Tensor {
        guard x.size(0) > 1, let kernel = kernels["\(key).weight"] else { return x }
        let pairs = try x.sliced(0, from: 1).unflattened(0, [x.size(0) / 2, 2])
            .permuted(0, 2, 3, 4, 1).flattened(from: 3)  // [n, C, h, 2 w]
        let joined = try conv2d(pairs, kernel, kernels["\(key).bias"], stride: [1, 2])
        return try concatenated([x.narrowed(0, 0, 1), joined])
    }

    /// Splits each frame into two, except the first one.
    private func pairsSplit(_ x: Tensor, _ key: String) throws(SwanError) -> Tensor {
        guard x.size(0) > 1 else { return x }
        let split = try convolved(x.sliced(0, from: 1), key).unflattened(1, [2, x.size(1)])
        return try concatenated([x.narrowed(0, 0, 1), split.flattened(from: 0, to: 1)])
    }

    private func convolved(
        _ x: Tensor,
        _ key: String,
        padding: Int = 0,
        stride: Int = 1
    ) throws(SwanError) -> Tensor {
        guard let kernel = kernels["\(key).weight"] ?? kernels[key] else {
            throw SwanError(.invalidWeights, "\(key).weight: missing from the autoencoder")
        }
        return try conv2d(
            x,
            kernel,
            kernels["\(key).bias"],
            stride: [stride, stride],
            padding: [padding, padding]
        )
    }

    /// The number of a head's input channels.
    private func width(_ head: String) -> Int { kernels[head]?.size(1) ?? 0 }

    // MARK: - Fitting

    /// Optimizes all kernels jointly with `LinearFit`.
    ///
    /// - Parameters:
    ///   - device: The device to train on; the kernels are on the CPU before and after.
    ///   - clips: Returns the patches [T, C, H, W] of clip `index`.
    mutating func fit(
        steps: Int,
        threads: Int,
        on device: Device = .cpu,
        clips: @escaping @Sendable (Int) throws -> Tensor,
        onProgress: (TrainingProgress) -> Void
    ) throws {
        guard steps > 0 else { return }
        let loop = TrainingLoop(
            "linear",
            steps: steps,
            method: LinearFit(chain: self, clips: clips),
            device: device,
            threads: threads
        )
        let state = try loop.run(
            from: { [kernels] in [LinearFit.trainedRole: kernels] },
            onProgress: onProgress
        )
        kernels = try state.averages[LinearFit.trainedRole].mapValues { try $0.to(.cpu) }
    }
}

/// The layers of the network that a chain passes through.
private struct Levels {
    struct Level {
        /// The keys of a level's layers; nil if it does not have them.
        let shortcut, resample: String?
        let time: Bool
    }

    let encoder, decoder: [Level]
    /// The index of the decoder's last layer.
    let lastLayer: Int

    init(_ config: WanVAEConfig) {
        let count = config.dimMult.count
        let dims = [1] + config.dimMult
        var layer = 0
        var levels: [Level] = []
        for level in 0..<count {
            let shortcut =
                dims[level] == dims[level + 1] ? nil : "encoder.downsamples.\(layer).shortcut"
            layer += config.numResBlocks
            let isLast = level == count - 1
            levels.append(
                Level(
                    shortcut: shortcut,
                    resample: isLast ? nil : "encoder.downsamples.\(layer)",
                    time: !isLast && config.temporalDownsample[level]
                )
            )
            layer += 1
        }
        encoder = levels

        let back = [config.dimMult[count - 1]] + config.dimMult.reversed()
        layer = 0
        levels = []
        for level in 0..<count {
            let inputs = back[level] * config.decoderBaseDim / (level > 0 ? 2 : 1)
            let outputs = back[level + 1] * config.decoderBaseDim
            let shortcut = inputs == outputs ? nil : "decoder.upsamples.\(layer).shortcut"
            layer += config.numResBlocks + 1
            let isLast = level == count - 1
            levels.append(
                Level(
                    shortcut: shortcut,
                    resample: isLast ? nil : "decoder.upsamples.\(layer)",
                    time: !isLast && config.temporalDownsample[count - 2 - level]
                )
            )
            layer += 1
        }
        decoder = levels
        lastLayer = layer - 2
    }

    /// The keys of the network's tensors that belong to a chain.
    var keys: [String] {
        var names = ["encoder.conv1", "decoder.conv1"]
        for level in encoder + decoder {
            if let shortcut = level.shortcut { names.append(shortcut) }
            guard let resample = level.resample else { continue }
            names.append("\(resample).resample.1")
            if level.time { names.append("\(resample).time_conv") }
        }
        return names.flatMap { ["\($0).weight", "\($0).bias"] }
    }
}
