import SwanModels
import SwanText
import SwanTraining
import Torch

/// Pretrains the text encoder: every token of a prompt is mapped to the vector of the requested
/// style.
///
/// With the transformer's loss alone, styles with similar images remain indistinguishable for
/// thousands of steps, because neither network has a reason to move before the other.
///
/// Trains the role `text_encoder`. If training continues from a model, that model's encoder is the
/// frozen role `teacher`.
struct TextEncoderMethod: Method {
    /// The trained role.
    static let trainedRole = "text_encoder"

    /// An encoder that already knows some styles: its embeddings are the targets for their prompts,
    /// so that the transformer finds known styles where they were.
    struct Teacher: Sendable {
        /// The encoder's weights, on the device of the encoder that is trained.
        let weights: [String: Tensor]
        /// The names of the styles that it knows.
        let styles: Set<String>
    }

    /// Tokenized prompts, and the indices of the requested styles.
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
    /// The encoder of the model that training continues from.
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

    /// Picks a style, all with equal probability. With a teacher, mostly new styles and
    /// "no change", since prompts that ask for no change must not trigger the new styles.
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
        let found = try EncodedPrompts(batch.prompts, by: networks[Self.trainedRole], config)
        let device = found.mask.device
        let generator = try Generator(seed: seed, purpose: .styleVectors)
        let table = try Tensor.randn([styles.count, config.dim], generator)
        let asked = try Tensor(batch.styles, [batch.styles.count])
        var target = try table.indexSelected(0, asked).unsqueezed(1).to(device) * found.mask
        if let teacher {
            let isKnown = batch.styles.map { teacher.styles.contains(styles[$0].name) }
            target = try choose(
                Tensor(isKnown, [isKnown.count, 1, 1]).to(device),
                withoutGradients {
                    try EncodedPrompts(batch.prompts, by: teacher.weights, config).embeddings
                },
                target
            )
        }
        let error = try found.squaredError(target)
        return Loss(total: error, parts: ["squared_error": error])
    }
}
