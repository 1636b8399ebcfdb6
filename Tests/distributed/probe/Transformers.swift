import RankSupport
import SwanDistributed
import SwanModels
import SwanSystem
import Torch
import TorchNN

extension Probe {
    /// Every kind of Wan transformer with its tokens divided, against one rank.
    func checkTransformers() throws {
        try inference {
            for size in [[3, 6, 10], [2, 4, 6], [5, 2, 14]] { try checkPlain(size) }
            try checkTimesteps()
            try checkImages()
            try checkControl()
            try checkCache()
        }
    }

    private static var config: WanConfig {
        var config = WanConfig()
        (config.dim, config.ffnDim, config.heads, config.layers) = (48, 96, 3, 4)
        (config.inDim, config.outDim, config.freqDim) = (4, 4, 32)
        (config.textDim, config.textLen) = (20, 12)
        return config
    }

    private func sequence(_ config: WanConfig) throws -> SequenceParallel {
        guard
            let sequence = try SequenceParallel(
                world,
                ranks: Array(0..<world.size),
                headCount: config.heads
            )
        else { throw SwanError(.diverged, "no groups") }
        return sequence
    }

    private func random(_ shape: [Int], _ seed: UInt64) throws -> Tensor {
        try .randn(shape, Generator(seed: seed))
    }

    private func model(_ config: WanConfig) throws -> WanTransformer {
        try WanTransformer(Weights(MadeWeights.random(seed: 3)), config)
    }

    private func checkPlain(_ size: [Int]) throws {
        let config = Self.config
        let model = try model(config)
        let sequence = try sequence(config)
        let x = try random([2, 4] + size, 1)
        let text = try model.text(random([1, 5, 20], 2))
        let steps = try Tensor([300, 700] as [Double], [2, 1])
        let expected = try model(x, timesteps: steps, text: text)
        let flow = try model(x, timesteps: steps, text: text, dividing: sequence)
        try check(flow, expected, within: 1e-5, "T2V of \(size)")
        // Queries, keys and values go out together and results come back; a ring passes keys and
        // values on. Cross-attention exchanges nothing, and the flow is gathered once.
        let width = SequenceParallel.width(world.size, headCount: config.heads)
        let inBlock = (width > 1 ? 2 : 0) + world.size / width - 1
        let calls = sequence.calls.filter { $0.value > 0 }
        try check(
            calls == [.exchange: inBlock * config.layers, .gather: 1],
            "operations in a forward: \(calls)"
        )
    }

    /// TI2V: the first frame is clean, and each frame or token has a timestep.
    private func checkTimesteps() throws {
        let config = Self.config
        let model = try model(config)
        let sequence = try sequence(config)
        let x = try random([1, 4, 3, 6, 10], 1)
        let text = try model.text(random([1, 5, 20], 2))
        for count in [3, 45] {
            let values = (0..<count).map { $0 == 0 ? 0 : 500 + Double($0) }
            let steps = try Tensor(values, [1, count])
            try check(
                model(x, timesteps: steps, text: text, dividing: sequence),
                model(x, timesteps: steps, text: text),
                within: 1e-5,
                "TI2V with \(count) timesteps"
            )
        }
    }

    /// I2V: 257 image tokens with the text, whole on every rank; mask and image are channels.
    private func checkImages() throws {
        var config = Self.config
        (config.inDim, config.imageDim) = (12, 32)
        let model = try model(config)
        let sequence = try sequence(config)
        let x = try random([1, 12, 3, 6, 10], 1)
        let text = try model.text(random([1, 5, 20], 2), image: random([1, 257, 32], 3))
        let steps = try Tensor([400] as [Double], [1, 1])
        sequence.group.traffic.reset()
        let flow = try model(x, timesteps: steps, text: text, dividing: sequence)
        try check(
            flow,
            model(x, timesteps: steps, text: text),
            within: 1e-5,
            "I2V with 257 image tokens"
        )
    }

    private func checkControl() throws {
        var config = Self.config
        (config.vaceLayers, config.vaceInDim) = ([0, 2], 10)
        let model = try WanVACETransformer(Weights(MadeWeights.random(seed: 4)), config)
        let sequence = try sequence(config)
        let x = try random([1, 4, 3, 6, 10], 1)
        let control = try random([1, 10, 3, 6, 10], 5)
        let text = try model.text(random([1, 5, 20], 2))
        let steps = try Tensor([400] as [Double], [1, 1])
        try check(
            model(
                x,
                timesteps: steps,
                text: text,
                control: control,
                scale: 0.7,
                dividing: sequence
            ),
            model(x, timesteps: steps, text: text, control: control, scale: 0.7),
            within: 1e-5,
            "VACE"
        )
    }

    /// All ranks reuse an earlier step, or none does.
    private func checkCache() throws {
        let config = Self.config
        let model = try model(config)
        let sequence = try sequence(config)
        let text = try model.text(random([1, 5, 20], 2))
        let steps = try Tensor([400] as [Double], [1, 1])
        let divided = sequence.makeCache(threshold: 0.05)
        let whole = FirstBlockCache(threshold: 0.05)
        let x = try random([1, 4, 3, 6, 10], 1)
        for step in 0..<6 {
            // The first frame changes much, so ranks see different changes.
            let change = try random([1, 4, 1, 6, 10], 10) * (0.15 * Double(step * step))
            let input = try x + change.padded([0, 0, 0, 0, 0, 2])
            try check(
                model(input, timesteps: steps, text: text, cache: divided, dividing: sequence),
                model(input, timesteps: steps, text: text, cache: whole),
                within: 1e-4,
                "step \(step) with a cache"
            )
        }
        try check(divided.reused == whole.reused, "reused \(divided.reused), not \(whole.reused)")
        try check(whole.reused > 0 && whole.reused < 5, "the cache decides \(whole.reused) times")
    }
}
