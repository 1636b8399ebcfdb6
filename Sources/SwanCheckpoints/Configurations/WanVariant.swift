import SwanModels

/// A variant of Wan: the task of a checkpoint, and the settings that its authors run it with.
public struct WanVariant: Sendable, Equatable {
    /// A generation task, named by its inputs and output.
    public enum Task: String, Sendable, CaseIterable, Codable {
        /// Wan 2.1 and 2.2 T2V.
        case textToVideo = "text-to-video"
        /// Wan 2.1 and 2.2 I2V: mask and image latents concatenated to the noise, 36 channels in total.
        case imageToVideo = "image-to-video"
        /// Wan 2.1 FLF2V: the first and the last frame are given.
        case firstLastFrameToVideo = "first-last-frame-to-video"
        /// Wan 2.2 TI2V: text alone, or text and a first frame, whose latents are kept clean.
        case textOrImageToVideo = "text-or-image-to-video"
        /// Wan 2.1 VACE: a control video, a mask and reference images.
        case controlToVideo = "control-to-video"

        /// The task with an indefinite article, for use in a sentence.
        package var named: String { (self == .imageToVideo ? "an " : "a ") + rawValue }
    }

    /// The task.
    public let task: Task
    /// Whether there are two experts, for high and for low noise.
    public let hasExperts: Bool
    /// Whether the transformer is also conditioned on CLIP image features.
    public let seesImages: Bool
    /// Whether it is one of the small models, which are intended for 480 lines.
    private let isSmall: Bool
    /// The model's own settings, in place of its authors'.
    private let own: GenerationDefaults?

    /// Determines the variant from the transformer's sizes and the presence of a second expert.
    ///
    /// - Parameter own: The model's own settings, if it has any. They also say whether a model with
    ///   as many output as input channels takes pictures.
    init(_ transformer: WanConfig, hasExperts: Bool, own: GenerationDefaults? = nil) {
        self.hasExperts = hasExperts
        self.own = own
        seesImages = transformer.imageDim != nil
        isSmall = transformer.dim < 3_072
        if transformer.vaceLayers != nil {
            task = .controlToVideo
        } else if transformer.inDim > transformer.outDim {
            task = transformer.imagePositions == nil ? .imageToVideo : .firstLastFrameToVideo
        } else {
            let usual = transformer.outDim == 48 ? Task.textOrImageToVideo : .textToVideo
            task = own?.task ?? usual
        }
    }

    /// Whether an input image is required.
    public var needsImage: Bool { [.imageToVideo, .firstLastFrameToVideo].contains(task) }
    /// Whether an input image is accepted.
    public var takesImage: Bool { needsImage || task == .textOrImageToVideo }
}

// MARK: - Default settings

extension WanVariant {
    /// The authors' settings, from wan/configs/*.py and generate.py of Wan 2.1 and 2.2.
    package var defaults: Defaults { own.map(Defaults.init) ?? authorsDefaults }

    private var authorsDefaults: Defaults {
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

    /// The settings for whatever a request does not specify.
    package struct Defaults: Sendable {
        package var steps = 50
        package var shift = 5.0
        package var guidance = (low: 5.0, high: 5.0)
        /// The noise level at and above which the high-noise expert is used.
        package var boundary = 0.875
        package var frames = 81
        package var framesPerSecond = 16
        package var width = 1_280, height = 720
        package var negativePrompt = Self.ownNegativePrompt
        /// The pixels of a frame.
        package var area: Int { width * height }

        /// Wan's negative prompt, in the language that the models were trained with.
        package static let ownNegativePrompt =
            "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，"
            + "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，"
            + "杂乱的背景，三条腿，背景人很多，倒着走"

        init() {}

        /// A model's own settings.
        init(_ own: GenerationDefaults) {
            (steps, shift, frames) = (own.steps, own.shift, own.frames)
            guidance = (low: own.guidance, high: own.guidance)
            (width, height, framesPerSecond) = (own.width, own.height, own.framesPerSecond)
            negativePrompt = own.negativePrompt
        }

        static let shaking = "镜头晃动，"
        static let cutting = "镜头切换，"

        /// The shift for image-to-video at 480 lines, where less noise suffices.
        static let shiftOfSmallImages = 3.0
    }

    /// Returns the shift for frames of an area in pixels; Wan 2.1 image-to-video uses a smaller one
    /// up to 832x480.
    package func shift(area: Int) -> Double {
        let isSmallImage = task == .imageToVideo && !hasExperts && area <= 832 * 480
        return isSmallImage ? Defaults.shiftOfSmallImages : defaults.shift
    }
}
