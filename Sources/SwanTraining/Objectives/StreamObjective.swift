import Foundation
import SwanModels
import SwanText
import Torch
import TorchNN

/// Flow matching between a source and its styled form, by a causal transformer and a text encoder.
///
/// The noisy input is x = s N + (1 - s) S; the network's flow v gives the clean x0 = x - t/1000 v
/// (rectified flow, https://arxiv.org/abs/2209.03003), which is held against the styled latents.
struct StreamObjective: Objective {
    /// The samples of a step.
    struct Batch: Sendable {
        /// [B, C, F, H, W] each.
        let source, target: Tensor
        let prompts: [[Int32]]
    }

    let transformer: WanConfig
    let textEncoder: UMT5Config
    let options: StreamOptions
    let phases: [StreamPhase]
    let styles: [Style]
    let prompts: PromptGenerator
    let tokenizer: Tokenizer
    /// How much an error counts in each latent channel, [C].
    let channelWeights: Tensor
    let seed: UInt64
    /// One for each phase.
    let pools: [LatentPool]

    /// Steps of all phases.
    var steps: Int { phases.reduce(0) { $0 + $1.steps } }

    func batch(_ place: BatchPlace) throws -> Batch {
        let (phase, local) = phase(of: place.step)
        let range = phases[phase].clips(at: local)
        try pools[phase].fill(range)
        // A later step goes on with the samples of the step before it.
        let drawn = isLater(place) ? place.before : place
        var random = SampleRandom(seed: seed, index: UInt64(drawn.number), purpose: 2)
        var (sources, targets): ([Tensor], [Tensor]) = ([], [])
        var texts: [[Int32]] = []
        for sample in 0..<phases[phase].batch {
            let style = random.integer(styles.indices)
            let pair = try pools[phase].pair(random.integer(range), style: style)
            sources.append(pair.source)
            targets.append(pair.target)
            let index = UInt64(drawn.number * phases[phase].batch + sample)
            let text = prompts.prompt(for: styles[style], index: index)
            let tokens = try tokenizer.encode(
                text,
                maxTokens: transformer.textLen,
                allowsEmpty: true
            )
            texts.append(Array(tokens.ids.prefix(tokens.count)))
        }
        return Batch(source: try stacked(sources), target: try stacked(targets), prompts: texts)
    }

    func loss(
        _ batch: Batch,
        _ place: BatchPlace,
        _ parameters: [String: Tensor],
        carry: inout [String: Tensor]
    ) throws -> Loss {
        let weights = Weights(DictionaryWeights(parameters))
        let network = try CausalWanTransformer(weights["transformer"], transformer)
        let encoder = try UMT5Encoder(weights["text_encoder"], textEncoder)
        try weights.finish()
        let generator = try Generator(seed: Seed.mixed(seed, 2, UInt64(place.number)))
        let (input, timesteps) =
            isLater(place)
            ? try later(batch, carry["result"] ?? batch.target, generator)
            : try first(batch, generator)
        let shape = input.shape
        let flow = try network(
            input,
            timesteps: timesteps.unsqueezed(1).expanded([shape[0], shape[2]]),
            text: network.text(encoder.encode(batch.prompts)),
            window: options.window
        )
        let sigma = try (timesteps / 1_000).reshaped(-1, 1, 1, 1, 1)
        let result = try input - sigma * flow
        // Squared up to about 1 and absolute beyond (Charbonnier), so that what nobody can foresee,
        // such as a cut, does not outweigh a whole batch.
        let error = try (((result - batch.target).pow(2) + 1).squareRoot() - 1) * 2
        let loss = try (error * channelWeights.reshaped(1, -1, 1, 1, 1)).mean()
        if isLater(place) {
            carry["result"] = nil
        } else {
            carry["result"] = try result.detached()
        }
        return Loss(
            total: loss,
            parts: [isLater(place) ? "later_steps" : "first_step": try loss.item()]
        )
    }

    /// Every third step starts from the result of the one before it.
    private func isLater(_ place: BatchPlace) -> Bool { phase(of: place.step).step % 3 == 2 }

    private func phase(of step: Int) -> (phase: Int, step: Int) {
        var rest = step
        for (index, phase) in phases.enumerated() {
            if rest < phase.steps { return (index, rest) }
            rest -= phase.steps
        }
        return (phases.count - 1, rest)
    }

    /// The source with noise, and a timestep for each sample [B].
    ///
    /// A stream's timestep is below its noise: it takes int(1000 s) - 100, as the reference does
    /// (StreamDiffusionV2, streamv2v/inference.py).
    private func first(
        _ batch: Batch,
        _ generator: Generator
    ) throws(TorchError) -> (Tensor, Tensor) {
        let count = batch.source.size(0)
        let isLower = try (Tensor.rand([count], generator) .> options.fullNoise).to(.float32)
        let lower = try Tensor.rand([count], generator) * isLower * options.noiseSpread
        let scale = try options.noiseScale - lower
        let s = try scale.reshaped(-1, 1, 1, 1, 1)
        let noise = try Tensor.randn(batch.source.shape, generator)
        // A little is added since 0.3 in float32 is below 0.3.
        let timesteps = try (scale * 1_000 + 0.01).floor() - 100
        return (try s * noise + (1 - s) * batch.source, timesteps)
    }

    /// An earlier result (or the target) with a little noise, and a timestep for each sample [B].
    private func later(
        _ batch: Batch,
        _ result: Tensor,
        _ generator: Generator
    ) throws(TorchError) -> (Tensor, Tensor) {
        let count = batch.source.size(0)
        let own = try Tensor.rand([count, 1, 1, 1, 1], generator) .< options.ownResults
        let base = try choose(own, result, batch.target)
        let table = try Tensor(
            options.laterTimesteps.map(Float.init),
            [options.laterTimesteps.count]
        )
        let drawn = try Tensor.randint(0..<options.laterTimesteps.count, [count], generator)
        let timesteps = try table.indexSelected(0, drawn)
        let s = try (timesteps / 1_000).reshaped(-1, 1, 1, 1, 1)
        let noise = try Tensor.randn(base.shape, generator)
        return (try s * noise + (1 - s) * base, timesteps)
    }
}
