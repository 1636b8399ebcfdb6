import Foundation
public import SwanCheckpoints
public import SwanModels
import SwanSystem
public import SwanText
public import Torch
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
