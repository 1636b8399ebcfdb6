import Foundation
import SwanCheckpoints
import SwanDistributed
import SwanModels
import SwanSystem
import SwanText
import SwanTraining
import Torch

/// Trains a causal transformer and a text encoder by flow matching between a source and its styled
/// version.
///
/// The loss compares the network's clean latents with the styled ones. The only role is `model`:
/// the transformer and the text encoder, with keys prefixed by `transformer.` and `text_encoder.`.
struct StreamMethod: Method {
    /// The trained role.
    static let trainedRole = "model"

    /// The samples of one micro-batch.
    struct Batch: Sendable {
        /// [B, C, F, H, W] each.
        let source, target: Tensor
        let prompts: [[Int32]]
    }

    let transformer: WanConfig
    let textEncoder: UMT5Config
    let options: StreamTrainingOptions
    let optimizer: OptimizerOptions
    let phases: [StreamPhase]
    let styles: [Style]
    let prompts: PromptGenerator
    let tokenizer: Tokenizer
    /// The loss weight of each latent channel, [C].
    let channelWeights: Tensor
    let seed: UInt64
    /// One pool per phase.
    let pools: [LatentPool]
    /// The number of clips on a sample sheet.
    var samples = 0
    /// What divides the tokens of a sample among ranks; nil if they are not divided.
    var sequence: SequenceParallel?
    /// What a LoRA changes, if one is trained in place of all weights.
    var lora: LoRA?

    /// A LoRA of the transformer and the weights that do not change.
    struct LoRA: Sendable {
        let layers: LoRALayers
        /// The weights below the LoRA.
        let transformer: [String: Tensor]
        var textEncoder: [String: Tensor] = [:]
    }

    /// A LoRA gives its look to prompts that ask for no change.
    private func asked(_ style: Int) -> Style { lora == nil ? styles[style] : .none }

    /// The shortest prompts for the styles.
    var barePrompts: [String] { styles.indices.map { asked($0).phrasings.first ?? "" } }

    var dividesTokens: Bool { sequence != nil }

    var sharesWeights: Bool { lora == nil }

    /// False, because the pool holds only the clips of the current batch.
    var hasIndependentBatches: Bool { false }

    var roles: [Role] {
        [.trained(Self.trainedRole, by: optimizer, isHiddenMatrix: Self.isHiddenMatrix)]
    }

    func updates(at step: Int) -> [Update<Batch>] { [Update(of: Self.trainedRole, by: loss)] }

    /// The total number of steps of all phases.
    var steps: Int { phases.reduce(0) { $0 + $1.steps } }

    func batch(_ place: BatchPlace) throws -> Batch {
        let (phase, local) = phase(of: place.step)
        let range = phases[phase].clips(at: local)
        try pools[phase].fill(range)
        // A later step continues with the samples of the previous step.
        let drawn = kind(place) == .later ? place.before : place
        var random = SampleRandom(seed: seed, index: UInt64(drawn.number), purpose: .streamStep)
        var (sources, targets): ([Tensor], [Tensor]) = ([], [])
        var texts: [[Int32]] = []
        for sample in 0..<phases[phase].batch {
            let style = random.integer(styles.indices)
            let pair = try pools[phase].pair(random.integer(range), style: style)
            sources.append(pair.source)
            targets.append(pair.target)
            let index = UInt64(drawn.number * phases[phase].batch + sample)
            let text = prompts.prompt(for: asked(style), index: index)
            texts.append(try tokens(of: text))
        }
        return Batch(source: try stacked(sources), target: try stacked(targets), prompts: texts)
    }

    func loss(
        _ batch: Batch,
        _ place: BatchPlace,
        _ networks: Networks,
        carry: inout [String: Tensor]
    ) throws -> Loss {
        let network = try StreamNetwork(networks, self)
        let generator = try Generator(
            seed: seed,
            purpose: .streamStep,
            index: UInt64(place.number)
        )
        let kind = kind(place)
        let (input, timesteps) =
            switch kind {
            case .first: try first(batch, generator)
            case .later: try later(batch, carry["result"] ?? batch.target, generator)
            }
        let result = try network(input, timesteps: timesteps, prompts: batch.prompts)
        // Squared up to about 1 and absolute beyond (Charbonnier), so that unpredictable content,
        // such as a cut, does not dominate a whole batch.
        let target = try batch.target.to(result.device)
        let error = try (((result - target).pow(2) + 1).squareRoot() - 1) * 2
        let loss = try (error * channelWeights.to(result.device).reshaped(1, -1, 1, 1, 1)).mean()
        carry["result"] = kind == .later ? nil : try result.detached()
        return Loss(
            total: loss,
            parts: [kind == .later ? "later_steps" : "first_step": loss]
        )
    }

    /// Selects the transformer's hidden matrices.
    static func isHiddenMatrix(_ key: String, _ shape: [Int]) -> Bool {
        shape.count == 2 && key.hasPrefix("transformer.") && !key.contains("embedding.0.")
            && !key.hasPrefix("transformer.head.")
    }

    private func kind(_ place: BatchPlace) -> StreamStepKind {
        StreamStepKind(step: phase(of: place.step).step)
    }

    private func phase(of step: Int) -> (phase: Int, step: Int) {
        var rest = step
        for (index, phase) in phases.enumerated() {
            if rest < phase.steps { return (index, rest) }
            rest -= phase.steps
        }
        return (phases.count - 1, rest)
    }

    /// Returns the source with noise, and a timestep for each frame [B, F].
    ///
    /// Each frame has a separate timestep, because a stream's motion sets the noise of every chunk.
    private func first(
        _ batch: Batch,
        _ generator: Generator
    ) throws(SwanError) -> (Tensor, Tensor) {
        let (count, frames) = (batch.source.size(0), batch.source.size(2))
        let isLower = try (Tensor.rand([count, 1], generator) .> options.fullNoise).to(.float32)
        let lower = try Tensor.rand([count, frames], generator) * isLower * options.noiseSpread
        let scale = try options.noiseScale - lower
        return try StreamNetwork.first(
            batch.source,
            noise: scale,
            timestepOffset: options.firstTimestepOffset,
            generator
        )
    }

    /// Returns an earlier result (or the target) with a little noise, and a timestep for each frame
    /// [B, F].
    private func later(
        _ batch: Batch,
        _ result: Tensor,
        _ generator: Generator
    ) throws(SwanError) -> (Tensor, Tensor) {
        let (count, frames) = (batch.source.size(0), batch.source.size(2))
        let own = try Tensor.rand([count, 1, 1, 1, 1], generator) .< options.ownResults
        let device = result.device
        let base = try choose(own.to(device), result, batch.target.to(device))
        let table = try Tensor(
            options.laterTimesteps.map(Float.init),
            [options.laterTimesteps.count]
        )
        let drawn = try Tensor.randint(
            0..<options.laterTimesteps.count,
            [count * frames],
            generator
        )
        let timesteps = try table.indexSelected(0, drawn).reshaped(count, frames)
        return (try StreamNetwork.later(base, timesteps, generator), timesteps)
    }

    /// Tokenizes a prompt for the text encoder.
    func tokens(of prompt: String) throws -> [Int32] {
        try tokenizer.encode(prompt, maxTokens: transformer.textLen, allowsEmpty: true).tokens
    }
}
