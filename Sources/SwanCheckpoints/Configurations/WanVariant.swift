import SwanModels

/// What a Wan checkpoint makes of what, and how its authors run it.
public struct WanVariant: Sendable, Equatable {
    /// What is made of what.
    public enum Task: String, Sendable, CaseIterable, Encodable {
        /// Wan 2.1 and 2.2 T2V.
        case textToVideo = "text-to-video"
        /// Wan 2.1 and 2.2 I2V: mask and image latents beside the noise, in 36 channels.
        case imageToVideo = "image-to-video"
        /// Wan 2.1 FLF2V: the first and the last picture are given.
        case firstLastFrameToVideo = "first-last-frame-to-video"
        /// Wan 2.2 TI2V: text alone, or the first frame's latents kept clean.
        case textOrImageToVideo = "text-or-image-to-video"
        /// Wan 2.1 VACE: a control video, a mask, reference pictures.
        case controlToVideo = "control-to-video"

        /// The task with its article, for a sentence.
        package var named: String { (self == .imageToVideo ? "an " : "a ") + rawValue }
    }

    /// What is made of what.
    public let task: Task
    /// Whether there is an expert for high and one for low noise.
    public let hasExperts: Bool
    /// Whether pictures reach the transformer through CLIP, too.
    public let seesImages: Bool
    /// Whether it is one of the small models, which are made for 480 lines.
    private let isSmall: Bool

    /// A variant by its transformer's sizes, and whether there is a second expert.
    init(_ transformer: WanConfig, hasExperts: Bool) {
        self.hasExperts = hasExperts
        seesImages = transformer.imageDim != nil
        isSmall = transformer.dim < 3_072
        if transformer.vaceLayers != nil {
            task = .controlToVideo
        } else if transformer.inDim > transformer.outDim {
            task = transformer.imagePositions == nil ? .imageToVideo : .firstLastFrameToVideo
        } else {
            task = transformer.outDim == 48 ? .textOrImageToVideo : .textToVideo
        }
    }

    /// Whether a picture must be given.
    public var needsImage: Bool { [.imageToVideo, .firstLastFrameToVideo].contains(task) }
    /// Whether a picture may be given.
    public var takesImage: Bool { needsImage || task == .textOrImageToVideo }
}

// MARK: - How its authors run it

extension WanVariant {
    /// wan/configs/*.py and generate.py of Wan 2.1 and 2.2.
    package var defaults: Defaults {
        var defaults = Defaults()
        switch task {
        case .textToVideo:
            if hasExperts {
                defaults.steps = 40
                defaults.shift = 12
                defaults.guidance = (low: 3, high: 4)
            }
        case .imageToVideo:
            defaults.steps = 40
            if hasExperts {
                defaults.boundary = 0.9
                defaults.guidance = (low: 3.5, high: 3.5)
            } else {
                defaults.negativePrompt = Defaults.shaking + defaults.negativePrompt
            }
        case .firstLastFrameToVideo:
            defaults.shift = 16
            defaults.negativePrompt =
                Defaults.cutting + Defaults.shaking + defaults.negativePrompt
        case .textOrImageToVideo:
            defaults.frames = 121
            defaults.framesPerSecond = 24
            defaults.height = 704
        case .controlToVideo:
            defaults.shift = 16
        }
        if isSmall, task != .textOrImageToVideo { (defaults.width, defaults.height) = (832, 480) }
        return defaults
    }

    /// What is taken where a request says nothing.
    package struct Defaults: Sendable {
        package var steps = 50
        var shift = 5.0
        package var guidance = (low: 5.0, high: 5.0)
        /// The noise level from which on the expert for high noise works.
        package var boundary = 0.875
        package var frames = 81
        package var framesPerSecond = 16
        package var width = 1_280, height = 720
        /// What a video should not look like, in the language the models were trained with.
        package var negativePrompt =
            "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，"
            + "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，"
            + "杂乱的背景，三条腿，背景人很多，倒着走"

        static let shaking = "镜头晃动，"
        static let cutting = "镜头切换，"

        /// The shift of image-to-video at 480 lines, where less noise is enough.
        static let shiftOfSmallImages = 3.0
    }

    /// The shift for pictures of an area; image-to-video of Wan 2.1 takes a smaller one up to 832x480.
    package func shift(area: Int) -> Double {
        let isSmallImage = task == .imageToVideo && !hasExperts && area <= 832 * 480
        return isSmallImage ? Defaults.shiftOfSmallImages : defaults.shift
    }
}
