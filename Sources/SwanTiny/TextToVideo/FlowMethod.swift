import SwanModels
import SwanSystem
import SwanText
import SwanTraining
import Torch
import TorchNN

/// Trains a transformer to make videos from noise and prompts by flow matching
/// (https://arxiv.org/abs/2210.02747), with the text encoder frozen.
///
/// x = (1 - s) x0 + s N; the network predicts N - x0 from x, 1000 s and the prompt. Noise levels s
/// are uniform before they are shifted.
struct FlowMethod: Method {
    /// The trained role.
    static let trainedRole = "transformer"

    /// Clean latents [B, C, F, H, W], and the prompts' embeddings [B, L, D].
    struct Batch: Sendable {
        let latents, text: Tensor
    }

    let recipe: TextToVideoRecipe
    let scenes: SceneSampler
    let prompts: ScenePrompts
    let tokenizer: Tokenizer
    let encoder: UMT5Encoder
    let codec: LatentCodec
    let latents: SceneLatents
    /// The loss weight of each latent channel, [C].
    let channelWeights: Tensor
    /// Called with the averaged weights before they are tried on held-out prompts.
    let evaluating: @Sendable ([String: Tensor]) throws -> Void

    var stage: TextToVideoRecipe.TransformerStage { recipe.transformer }

    var roles: [Role] {
        [
            .trained(Self.trainedRole, by: stage.optimizer, isHiddenMatrix: Self.isHiddenMatrix),
            .frozen("text_encoder"),
        ]
    }

    func updates(at step: Int) -> [Update<Batch>] { [Update(of: Self.trainedRole, by: loss)] }

    func batch(_ place: BatchPlace) throws -> Batch {
        var random = SampleRandom(
            seed: recipe.seed,
            index: UInt64(place.number),
            purpose: .flowStep
        )
        var clean: [Tensor] = []
        var texts: [String] = []
        for sample in 0..<stage.batch {
            let index = random.integer(0..<recipe.video.clips)
            clean.append(try latents(index))
            let number = UInt64(place.number * stage.batch + sample)
            let text = prompts.prompt(for: scenes.scene(UInt64(index)), index: number).text
            texts.append(random.chance(stage.promptDropout) ? "" : text)
        }
        return Batch(latents: try stacked(clean), text: try embeddings(of: texts))
    }

    func loss(
        _ batch: Batch,
        _ place: BatchPlace,
        _ networks: Networks,
        carry: inout [String: Tensor]
    ) throws -> Loss {
        let network = try FlowNetwork(
            networks.weights(Self.trainedRole, stage.precision),
            stage.model
        )
        let generator = try Generator(
            seed: recipe.seed,
            purpose: .flowStep,
            index: UInt64(place.number)
        )
        let count = batch.latents.size(0)
        // One level in each part of the range: the loss of a step varies less.
        let parts = try Tensor.arange(0, Double(count))
        let u = try (parts + Tensor.rand([count], generator)) * (1 / Double(count))
        let level = try u * stage.shift / (u * (stage.shift - 1) + 1)
        let noise = try Tensor.randn(batch.latents.shape, generator)
        let s = try level.reshaped(count, 1, 1, 1, 1)
        let flow = try network(
            s * noise + (1 - s) * batch.latents,
            timesteps: level * 1_000,
            text: batch.text
        )
        let weights = try channelWeights.reshaped(1, -1, 1, 1, 1).to(flow.device)
        let target = try (noise - batch.latents).to(flow.device)
        let loss = try ((flow - target).pow(2) * weights).mean()
        return Loss(total: loss, parts: ["flow": loss])
    }

    /// Selects the transformer's hidden matrices.
    static func isHiddenMatrix(_ key: String, _ shape: [Int]) -> Bool {
        shape.count == 2 && !key.contains("embedding") && !key.hasPrefix("head.")
    }

    /// Embeds prompts: [B, L, D], zeros after the end of each.
    func embeddings(of prompts: [String]) throws -> Tensor {
        let tokens = try prompts.map { prompt in
            try tokenizer.encode(prompt, maxTokens: stage.model.textLen, allowsEmpty: true).tokens
        }
        return try withoutGradients { try encoder.encode(tokens) }
    }
}
