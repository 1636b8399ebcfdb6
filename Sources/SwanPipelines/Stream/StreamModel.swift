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
    /// The styles that prompts can request; other prompts request no change. `nil` for any prompt.
    public var styles: KnownStyles?
    /// The autoencoder between frames and latents.
    public let vae: any VideoAutoencoder

    let transformer: CausalWanTransformer
    let textEncoder: UMT5Encoder
    let tokenizer: Tokenizer
    /// Where it was loaded from.
    var source: StreamCheckpoint?
    /// The LoRAs that are applied to the transformer.
    var loras = LoRASet()
    /// Messages about keys of LoRAs that have no place in the model and were left out.
    public internal(set) var loraNotes: [String] = []

    /// The networks of a model and its tokenizer.
    public struct Networks: Sendable {
        /// Denoises latents.
        public var transformer: CausalWanTransformer
        /// Encodes frames and decodes latents.
        public var vae: any VideoAutoencoder
        /// Encodes prompts.
        public var textEncoder: UMT5Encoder
        /// Splits prompts into the text encoder's tokens.
        public var tokenizer: Tokenizer

        /// Combines networks.
        public init(
            transformer: CausalWanTransformer,
            vae: any VideoAutoencoder,
            textEncoder: UMT5Encoder,
            tokenizer: Tokenizer
        ) {
            self.transformer = transformer
            self.vae = vae
            self.textEncoder = textEncoder
            self.tokenizer = tokenizer
        }
    }

    /// Creates a model from existing networks, for example in training.
    public init(
        name: String,
        _ networks: Networks,
        configuration: StreamConfiguration,
        dtype: DType = .float32,
        device: Device = .cpu
    ) {
        self.name = name
        transformer = networks.transformer
        vae = networks.vae
        textEncoder = networks.textEncoder
        tokenizer = networks.tokenizer
        self.configuration = configuration
        styles = configuration.styles
        self.dtype = dtype
        self.device = device
    }

    /// Throws if frames of this size do not divide into the model's patches.
    func check(height: Int, width: Int) throws(SwanError) {
        try FrameSize.check(height: height, width: width, multiple: sizeMultiple)
    }

    /// The number of frames of a chunk.
    package var framesPerChunk: Int { vae.temporalStride * configuration.framesPerBlock }

    /// The number of frames of a stream's first chunk.
    package var firstChunkFrames: Int {
        framesPerChunk + (configuration.repeatsFirstFrame ? 0 : 1)
    }

    /// Whether the model only restyles: from pure noise it produces noise.
    package var needsInput: Bool {
        configuration.steps.first.map { $0 < FileStreamRequest.leastStepFromNoise } ?? true
    }

    /// The number of pixels that the width and height of frames must be multiples of.
    public var sizeMultiple: Int {
        transformer.config.sizeMultiple(spatialStride: vae.spatialStride)
    }
}
