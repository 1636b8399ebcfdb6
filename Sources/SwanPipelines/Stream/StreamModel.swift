import Foundation
public import SwanCheckpoints
public import SwanModels
import SwanSystem
public import SwanText
public import Torch
import TorchNN

/// A loaded streaming model.
public struct StreamModel: Sendable {
    /// The model's name in reports.
    public let name: String
    /// The dtype of the weights.
    public let dtype: DType
    /// The device that holds the weights.
    public let device: Device
    /// The default streaming configuration.
    public let configuration: StreamConfiguration
    /// The looks that prompts can request; other prompts request no change. `nil` for any prompt.
    public var looks: KnownLooks?
    /// The autoencoder between frames and latents.
    public let vae: any VideoAutoencoder

    let transformer: CausalWanTransformer
    let textEncoder: UMT5Encoder
    let tokenizer: Tokenizer

    /// Creates a model from existing networks, for example in training.
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

    /// Throws if frames of this size do not divide into the model's patches.
    func check(height: Int, width: Int) throws(SwanError) {
        try FrameSize.check(height: height, width: width, multiple: sizeMultiple)
    }

    /// The number of pixels that the width and height of frames must be multiples of.
    public var sizeMultiple: Int {
        transformer.config.sizeMultiple(spatialStride: vae.spatialStride)
    }
}
