import Foundation
import SwanCheckpoints
import SwanModels
import SwanSystem
import SwanText
import Torch
import TorchNN

/// The networks of a streaming model, loaded.
public struct StreamModel: Sendable {
    /// What the model is called in reports.
    public let name: String
    /// The dtype of its weights.
    public let dtype: DType
    /// Where its weights are.
    public let device: Device
    /// How it streams unless told otherwise.
    public let configuration: StreamConfiguration
    /// The looks that prompts may ask for; others then ask for no change. Nil where it takes any prompt.
    public var looks: KnownLooks?
    /// Frames to latents and back.
    public let vae: any VideoAutoencoder

    let transformer: CausalWanTransformer
    let textEncoder: UMT5Encoder
    let tokenizer: Tokenizer

    /// Networks that were made elsewhere, such as in training.
    public init(
        name: String,
        transformer: CausalWanTransformer,
        vae: any VideoAutoencoder,
        textEncoder: UMT5Encoder,
        tokenizer: Tokenizer,
        configuration: StreamConfiguration,
        dtype: DType = .float32,
        device: Device = .cpu
    ) {
        self.name = name
        self.transformer = transformer
        self.vae = vae
        self.textEncoder = textEncoder
        self.tokenizer = tokenizer
        self.configuration = configuration
        looks = configuration.looks
        self.dtype = dtype
        self.device = device
    }

    /// A prompt as the transformer attends to it, and what had to be changed in it.
    package func conditioning(
        _ prompt: String
    ) throws -> (text: TextConditioning, issues: [PromptIssue]) {
        let limit = transformer.config.textLen
        var heard = try tokenizer.encode(prompt, maxTokens: limit)
        var issues = heard.issues
        let cut = try heard.wasTruncated ? tokenizer.text(of: heard.tokens) : nil
        if let issue = looks?.issue(with: heard.text, heard: cut),
            let neutral = looks?.noChange.first
        {
            issues.append(issue)
            heard = try tokenizer.encode(neutral, maxTokens: limit)
        } else if let wanted = looks?.wanted(in: cut ?? heard.text), wanted != cut ?? heard.text {
            heard = try tokenizer.encode(wanted, maxTokens: limit)
        }
        let embeddings = try textEncoder.encode([heard.tokens])
        return (try transformer.text(embeddings), issues)
    }

    /// Throws where frames of this size do not divide into the autoencoder's and the transformer's patches.
    func check(height: Int, width: Int) throws(SwanError) {
        try FrameSize.check(height: height, width: width, multiple: sizeMultiple)
    }

    /// What the sides of its pictures are multiples of, in pixels.
    public var sizeMultiple: Int {
        let patch = transformer.config.patchSize
        return vae.spatialStride * max(patch[1], patch[2])
    }
}
