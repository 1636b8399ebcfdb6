import SwanModels
import SwanText
import SwanTraining
import Torch
import TorchNN

/// A start for the text encoder: every token of a prompt becomes the vector of the style it asks for.
///
/// Left to the transformer's loss alone, styles whose pictures are alike stay one style for thousands
/// of steps, because neither side has a reason to move before the other.
///
/// The role `text_encoder` is trained. Where training goes on from a model, its own encoder is the frozen
/// role `teacher`.
struct TextEncoderMethod: Method {
    /// The role that is trained.
    static let trainedRole = "text_encoder"

    /// An encoder that knows styles already: what it makes of their prompts is what shall become of them,
    /// so that the transformer finds old styles where it had them.
    struct Teacher: Sendable {
        /// Where the encoder that learns is.
        let weights: [String: Tensor]
        /// The names of the styles that it knows.
        let styles: Set<String>
    }

    /// Prompts as tokens, and the styles they ask for.
    struct Batch: Sendable {
        let prompts: [[Int32]]
        let styles: [Int]
    }

    let config: UMT5Config
    let optimizer: OptimizerOptions
    let styles: [Style]
    let prompts: PromptGenerator
    let tokenizer: Tokenizer
    let maximumTokens: Int
    let batch: Int
    let seed: UInt64
    /// The encoder of the model that training goes on from.
    var teacher: Teacher?

    var roles: [Role] {
        [.trained(Self.trainedRole, by: optimizer)] + (teacher == nil ? [] : [.frozen("teacher")])
    }

    func updates(at step: Int) -> [Update<Batch>] { [Update(of: Self.trainedRole, by: loss)] }

    func batch(_ place: BatchPlace) throws -> Batch {
        var random = SampleRandom(seed: seed, index: UInt64(place.number), purpose: .textStep)
        var texts: [[Int32]] = []
        var asked: [Int] = []
        for sample in 0..<batch {
            let style = self.style(&random)
            let text = prompts.prompt(
                for: styles[style],
                index: UInt64(place.number * batch + sample)
            )
            let prompt = try tokenizer.encode(text, maxTokens: maximumTokens, allowsEmpty: true)
            texts.append(prompt.tokens)
            asked.append(style)
        }
        return Batch(prompts: texts, styles: asked)
    }

    /// Each style as often as any other; with a teacher mostly what is new, and what the new names must
    /// not be heard in: prompts that ask for no change.
    private func style(_ random: inout SampleRandom) -> Int {
        guard let teacher else { return random.integer(styles.indices) }
        let new = styles.indices.filter { !teacher.styles.contains(styles[$0].name) }
        let known = styles.indices.filter { !new.contains($0) }
        let groups = [
            (share: 0.4, styles: new),
            (share: 0.3, styles: known.filter { styles[$0].changesNothing }),
            (share: 0.3, styles: known.filter { !styles[$0].changesNothing }),
        ].filter { !$0.styles.isEmpty }
        return random.pick(groups[random.pick(weights: groups.map(\.share))].styles)
    }

    func loss(
        _ batch: Batch,
        _ place: BatchPlace,
        _ networks: Networks,
        carry: inout [String: Tensor]
    ) throws -> Loss {
        let found = try embeddings(batch.prompts, by: networks[Self.trainedRole])
        let device = found.device
        let length = found.size(1)
        let mask = try Tensor(
            batch.prompts.flatMap { prompt in
                (0..<length).map { $0 < prompt.count ? Float(1) : 0 }
            },
            [batch.prompts.count, length, 1]
        ).to(device)
        let generator = try Generator(seed: seed, purpose: .styleVectors)
        let table = try Tensor.randn([styles.count, config.dim], generator)
        let asked = try Tensor(batch.styles, [batch.styles.count])
        var target = try table.indexSelected(0, asked).unsqueezed(1).to(device) * mask
        if let teacher {
            let isKnown = batch.styles.map { teacher.styles.contains(styles[$0].name) }
            target = try choose(
                Tensor(isKnown, [isKnown.count, 1, 1]).to(device),
                withoutGradients { try embeddings(batch.prompts, by: teacher.weights) },
                target
            )
        }
        let error = try (found - target).pow(2).sum() / (mask.sum() * Double(config.dim))
        return Loss(total: error, parts: ["squared_error": error])
    }

    /// What an encoder makes of prompts: [B, L, C], zeros after the end.
    private func embeddings(
        _ prompts: [[Int32]],
        by parameters: [String: Tensor]
    ) throws -> Tensor {
        let weights = Weights(leaves: parameters)
        let encoder = try UMT5Encoder(weights, config)
        try weights.finish()
        return try encoder.encode(prompts)
    }
}
