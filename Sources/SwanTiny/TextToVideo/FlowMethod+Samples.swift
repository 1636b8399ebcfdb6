import SwanModels
import SwanSystem
import SwanTraining
import Torch

extension FlowMethod {
    /// The number of videos that are made at once.
    private static let together = 8

    /// Makes videos of held-out prompts, measures how many of them show what they should, and draws
    /// the first ones: the first, a middle and the last frame of each.
    func samples(_ networks: Networks) throws -> [SampleSheet] {
        let count = recipe.evaluation.prompts
        guard count > 0 else { return [] }
        let weights = networks[Self.trainedRole]
        try evaluating(weights)
        return try withoutGradients {
            let network = try FlowNetwork(
                networks.weights(Self.trainedRole, stage.precision),
                stage.model
            )
            var score = SceneScore()
            var rows: [[Tensor]] = []
            for first in stride(from: 0, to: count, by: Self.together) {
                let numbers = Array(first..<min(count, first + Self.together))
                let (claims, clips) = try videos(numbers, network)
                for (claim, clip) in zip(claims, clips) {
                    score.add(try SceneMeasure.verdict(clip, claim), claim.kind)
                    guard rows.count < 12 else { continue }
                    let last = clip.size(0) - 1
                    rows.append(try [0, last / 4, last / 2, last].map { try clip.selected(0, $0) })
                }
            }
            return [
                try SampleSheet(
                    rows,
                    caption: score.description,
                    figures: score.figures
                )
            ]
        }
    }

    /// Makes the videos of held-out prompts with these numbers, [T, 3, H, W] in [0, 1] each.
    private func videos(
        _ numbers: [Int],
        _ network: FlowNetwork
    ) throws -> (claims: [SceneClaim], clips: [Tensor]) {
        var claims: [SceneClaim] = []
        var texts: [String] = []
        var noise: [Tensor] = []
        let side = recipe.video.size / codec.spatialStride
        for number in numbers {
            let index = UInt64(number)
            let said = prompts.prompt(for: scenes.scene(index, .heldOut), index: index)
            claims.append(said.claim)
            texts.append(said.text)
            let generator = try Generator(seed: recipe.seed, purpose: .heldOutNoise, index: index)
            let shape = [recipe.transformer.model.inDim, recipe.video.latentFrames, side, side]
            noise.append(try Tensor.randn(shape, generator))
        }
        let sampler = GuidedSampler(
            network: network,
            steps: recipe.evaluation.steps,
            shift: recipe.transformer.shift,
            guidance: recipe.evaluation.guidance
        )
        let latents = try sampler(
            from: stacked(noise),
            text: embeddings(of: texts),
            nothing: embeddings(of: [""])
        )
        let clips = try codec.decode(latents).clamped(min: 0, max: 1).unbound()
        return (claims, clips)
    }
}
