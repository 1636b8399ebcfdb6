import SwanCheckpoints
import SwanModels
import SwanSystem

/// What a model is given besides text, and how it sees time.
package enum TuningTask: Sendable, Equatable {
    case textToVideo
    /// A mask and the latents of pictures are joined to the noise.
    ///
    /// - Parameter hasLast: Whether the last picture is given, too.
    case imageToVideo(hasLast: Bool)
    /// Text alone, or text and a first frame that stays clean, at timestep 0.
    case textOrImageToVideo
    /// A live model: blocks of frames that see themselves and the past, each at its own timestep.
    case causal(framesPerBlock: Int, window: Int?, sinks: Int)

    /// The task of a model that generates.
    init(_ variant: WanVariant, _ path: String) throws(SwanError) {
        switch variant.task {
        case .textToVideo: self = .textToVideo
        case .imageToVideo: self = .imageToVideo(hasLast: false)
        case .firstLastFrameToVideo: self = .imageToVideo(hasLast: true)
        case .textOrImageToVideo: self = .textOrImageToVideo
        case .controlToVideo:
            throw SwanError(
                .invalidModel,
                "\(path): is a VACE model, whose control branch cannot be fine-tuned; use the "
                    + "text-to-video model that it is based on"
            )
        }
    }

    /// Whether rows need pictures of their videos, not only their latents.
    var needsPictures: Bool {
        if case .imageToVideo = self { true } else { false }
    }
}
