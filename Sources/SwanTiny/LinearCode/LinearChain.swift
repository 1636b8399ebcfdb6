import Foundation
import SwanModels
import SwanTraining
import Torch
import SwanSystem

/// What an autoencoder of Wan 2.1's kind is without its residual branches: a chain of convolutions,
/// each of them inside one frame or inside one pair of frames.
///
/// Keys are the network's, tensors the parts of its kernels that the chain has: of a causal kernel the
/// last tap, of the convolution over time its last two. The heads, whose norms and SiLUs are taken for
/// straight, stand under `encoder.head` and `decoder.head`.
struct LinearChain: Sendable {
    var kernels: [String: Tensor]
    private let levels: Levels
    private let isSubpixel: Bool

    /// The chain inside the weights of a network, with heads of their own.
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

    /// Copies the kernels to their places in a network's weights; the heads are not among them.
    func write(to weights: [String: Tensor]) throws(SwanError) {
        for key in levels.keys {
            guard let weight = weights[key], let kernel = kernels[key] else { continue }
            var place = try Self.part(weight, key)
            try place.copy(from: kernel.detached())
        }
    }

    /// The part of a network's tensor that the chain has, as [outputs, inputs, height, width] or as a bias.
    private static func part(_ weight: Tensor, _ key: String) throws(SwanError) -> Tensor {
        guard weight.rank == 5 else { return weight }
        guard key.hasPrefix("encoder"), key.hasSuffix("time_conv.weight") else {
            return try weight.selected(2, weight.size(2) - 1)
        }
        // Two taps as a kernel of one row: [outputs, inputs, 1, 2].
        return try weight.narrowed(2, 1, 2).selected(4, 0).selected(3, 0).unsqueezed(2)
    }

    /// The shortcuts of the levels next to the heads, nil where channels do not change.
    var lastShortcuts: (encoder: String?, decoder: String?) {
        (levels.encoder.last?.shortcut, levels.decoder.last?.shortcut)
    }

    /// The number of the decoder's last layer.
    var lastLayer: Int { levels.lastLayer }

    /// Turns what the heads read so that the strongest directions come first, and the heads back: the
    /// chain does the same.
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

    // MARK: - There and back

    /// What the encoder's head reads of its last level: patches [T, C, H, W], T = 1 + 4 n -> [1 + n, C', h, w].
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

    /// The latents of what the encoder's head reads.
    func latents(of signals: Tensor) throws(SwanError) -> Tensor {
        try convolved(signals, "encoder.head", padding: 1)
    }

    /// What the decoder's head reads: latents [1 + n, z, h, w] -> [1 + 4 n, C', H, W].
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

    /// Patches again.
    func patches(of picture: Tensor) throws(SwanError) -> Tensor {
        try convolved(picture, "decoder.head", padding: 1)
    }

    /// The first frame stays alone; every two frames after it become one.
    private func pairsJoined(_ x: Tensor, _ key: String) throws(SwanError) -> Tensor {
        guard x.size(0) > 1, let kernel = kernels["\(key).weight"] else { return x }
        let pairs = try x.sliced(0, from: 1).unflattened(0, [x.size(0) / 2, 2])
            .permuted(0, 2, 3, 4, 1).flattened(from: 3)  // [n, C, h, 2 w]
        let joined = try conv2d(pairs, kernel, kernels["\(key).bias"], stride: [1, 2])
        return try concatenated([x.narrowed(0, 0, 1), joined])
    }

    /// The first frame stays alone; every frame after it becomes two.
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
            throw SwanError(.invalidWeights, "an autoencoder of Wan 2.1's kind has \(key).weight")
        }
        return try conv2d(
            x,
            kernel,
            kernels["\(key).bias"],
            stride: [stride, stride],
            padding: [padding, padding]
        )
    }

    /// Channels that a head reads.
    private func width(_ head: String) -> Int { kernels[head]?.size(1) ?? 0 }

    // MARK: - Fitting

    /// Changes all kernels together by `LinearFit`.
    ///
    /// - Parameters:
    ///   - device: where it is done; the kernels are on the CPU before and after.
    ///   - clips: patches [T, C, H, W] of clip `index`.
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

/// Which layers of the network a chain goes through.
private struct Levels {
    struct Level {
        /// The keys of a level's layers, nil where it has none.
        let shortcut, resample: String?
        let time: Bool
    }

    let encoder, decoder: [Level]
    /// The number of the decoder's last layer.
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

    /// The network's tensors that belong to a chain.
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
