package import SwanModels
package import SwanSystem

/// Whether the parts of a model fit each other, by their sizes alone.
///
/// What is found here would otherwise be an operator's error after minutes of loading.
package struct PartsFit {
    let transformer: WanConfig
    /// Of the autoencoder.
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

    /// Frames that every latent after the first stands for, in all of Wan's autoencoders.
    package static let temporalStride = 4

    /// What does not fit, in words; empty where everything does.
    var problems: [String] {
        var problems: [String] = []
        if temporalStride != Self.temporalStride {
            problems.append(
                "the autoencoder makes a latent of \(temporalStride) frames; Wan's make it of "
                    + "\(Self.temporalStride)"
            )
        }
        if latentChannels != transformer.outDim {
            problems.append(
                "the autoencoder has \(latentChannels) channels, the transformer gives "
                    + "\(transformer.outDim)"
            )
        }
        if let textEncoder, textEncoder.dim != transformer.textDim {
            problems.append(
                "the text encoder's width is \(textEncoder.dim), the transformer takes "
                    + "\(transformer.textDim)"
            )
        }
        return problems + (streams ? streamingProblems : generationProblems)
    }

    private var streamingProblems: [String] {
        var problems: [String] = []
        if transformer.inDim != transformer.outDim {
            problems.append(
                "the transformer takes \(transformer.inDim) channels and gives "
                    + "\(transformer.outDim); one that streams gives what it takes"
            )
        }
        if transformer.patchSize[0] != 1 {
            problems.append(
                "the transformer's patches have \(transformer.patchSize[0]) latent frames; a stream "
                    + "needs patches of one"
            )
        }
        if transformer.imageDim != nil {
            problems.append("the transformer attends to image tokens, which a stream has not")
        }
        return problems
    }

    private var generationProblems: [String] {
        var problems: [String] = []
        let (input, output) = (transformer.inDim, transformer.outDim)
        // Beside the noise there may be a mask for the frames of a latent, and a picture's latents.
        let withPicture = 2 * output + Self.temporalStride
        if input != output, input != withPicture {
            problems.append(
                "the transformer takes \(input) channels and gives \(output): it should take \(output), "
                    + "or \(withPicture) beside a picture"
            )
        }
        if let control = transformer.vaceInDim {
            let wanted = 2 * output + spatialStride * spatialStride
            if control != wanted {
                problems.append(
                    "the control branch takes \(control) channels; two times \(output) latent channels "
                        + "and the mask are \(wanted)"
                )
            }
        }
        if let imageEncoder, let width = transformer.imageDim, imageEncoder.dim != width {
            problems.append(
                "the image encoder's width is \(imageEncoder.dim), the transformer takes \(width)"
            )
        }
        if let imageEncoder, let positions = transformer.imagePositions,
            positions % imageEncoder.tokens != 0
        {
            problems.append(
                "the image encoder gives \(imageEncoder.tokens) tokens, which do not divide the "
                    + "transformer's \(positions) positions"
            )
        }
        return problems
    }

    /// Throws where something does not fit.
    ///
    /// - Parameter model: the model's folder, for the message.
    package func require(in model: String) throws(SwanError) {
        let problems = problems
        guard problems.isEmpty else {
            throw SwanError(
                .invalidModel,
                "the parts of \(model) do not fit each other: \(problems.joined(separator: "; "))"
            )
        }
    }
}
