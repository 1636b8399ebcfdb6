package import SwanModels
package import SwanSystem

/// A check that the parts of a model fit together, based on their sizes alone.
///
/// Without it, a mismatch would cause an operator error after minutes of loading.
package struct PartsFit {
    let transformer: WanConfig
    /// The sizes of the autoencoder.
    let latentChannels, temporalStride, spatialStride: Int
    let textEncoder: UMT5Config?
    var imageEncoder: CLIPVisionConfig?
    /// Whether the model streams.
    let streams: Bool

    package init(
        transformer: WanConfig,
        latentChannels: Int,
        temporalStride: Int,
        spatialStride: Int,
        textEncoder: UMT5Config?,
        imageEncoder: CLIPVisionConfig? = nil,
        streams: Bool
    ) {
        self.transformer = transformer
        self.latentChannels = latentChannels
        self.temporalStride = temporalStride
        self.spatialStride = spatialStride
        self.textEncoder = textEncoder
        self.imageEncoder = imageEncoder
        self.streams = streams
    }

    /// The temporal stride of all of Wan's autoencoders.
    package static let temporalStride = 4

    /// The mismatches as messages; empty if everything fits.
    var problems: [String] {
        var problems: [String] = []
        if temporalStride != Self.temporalStride {
            problems.append(
                "the autoencoder's temporal stride is \(temporalStride); Wan's autoencoders have "
                    + "\(Self.temporalStride)"
            )
        }
        if latentChannels != transformer.outDim {
            problems.append(
                "the autoencoder has \(latentChannels) channels, but the transformer outputs "
                    + "\(transformer.outDim)"
            )
        }
        if let textEncoder, textEncoder.dim != transformer.textDim {
            problems.append(
                "the text encoder's width is \(textEncoder.dim), but the transformer expects "
                    + "\(transformer.textDim)"
            )
        }
        return problems + (streams ? streamingProblems : generationProblems)
    }

    private var streamingProblems: [String] {
        var problems: [String] = []
        if transformer.inDim != transformer.outDim {
            problems.append(
                "the transformer has \(transformer.inDim) input channels and "
                    + "\(transformer.outDim) output channels; streaming needs the same number"
            )
        }
        if transformer.patchSize[0] != 1 {
            problems.append(
                "the transformer's patches span \(transformer.patchSize[0]) latent frames; streaming "
                    + "needs patches of one"
            )
        }
        if transformer.imageDim != nil {
            problems.append("the transformer attends to image tokens, which a stream does not have")
        }
        return problems
    }

    private var generationProblems: [String] {
        var problems: [String] = []
        let (input, output) = (transformer.inDim, transformer.outDim)
        // In addition to the noise, there may be a mask for each frame of a latent, and image latents.
        let withPicture = 2 * output + Self.temporalStride
        if input != output, input != withPicture {
            problems.append(
                "the transformer has \(input) input and \(output) output channels; expected \(output) "
                    + "input channels, or \(withPicture) with an image"
            )
        }
        if let control = transformer.vaceInDim {
            let wanted = 2 * output + spatialStride * spatialStride
            if control != wanted {
                problems.append(
                    "the control branch has \(control) input channels; expected \(wanted), which is twice "
                        + "the \(output) latent channels plus the mask"
                )
            }
        }
        if let imageEncoder, let width = transformer.imageDim, imageEncoder.dim != width {
            problems.append(
                "the image encoder's width is \(imageEncoder.dim), but the transformer expects \(width)"
            )
        }
        if let imageEncoder, let positions = transformer.imagePositions,
            positions % imageEncoder.tokens != 0
        {
            problems.append(
                "the image encoder outputs \(imageEncoder.tokens) tokens, which does not divide the "
                    + "transformer's \(positions) image positions"
            )
        }
        return problems
    }

    /// Throws if something does not fit.
    ///
    /// - Parameter model: The model's folder, for the message.
    package func require(in model: String) throws(SwanError) {
        let problems = problems
        guard problems.isEmpty else {
            throw SwanError(
                .invalidModel,
                "the parts of \(model) do not fit together: \(problems.joined(separator: "; "))"
            )
        }
    }
}
