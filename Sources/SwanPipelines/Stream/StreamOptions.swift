public import SwanCheckpoints
public import SwanSystem
import Torch

/// The settings of one stream, in addition to its model's.
public struct StreamOptions: Sendable, Equatable {
    /// The size in pixels that frames are resized to; `setSize(for:)` keeps their aspect ratio.
    public var height, width: Int
    /// The size of the output frames if black bars are added; `nil` for `height` and `width`.
    public internal(set) var outputHeight, outputWidth: Int?
    /// How frames with another aspect ratio are fitted to `height` and `width`; `setSize(for:)` replaces
    /// padding by a smaller size and black bars.
    public var fit: FrameFit {
        get { settings.fit }
        set { settings.fit = newValue }
    }
    /// The pixel aspect ratio of the input frames: a pixel's width divided by its height.
    public internal(set) var pixelAspect = 1.0
    /// The streaming configuration.
    public var configuration: StreamConfiguration
    /// What the user asked for. Its steps and noise scale are part of `configuration`, its height and width
    /// of the size above.
    public var settings: StreamSettings

    /// Changes the size that frames are resized to, without black bars; nil keeps a side.
    mutating func resize(width newWidth: Int?, height newHeight: Int?) {
        (width, height) = (newWidth ?? width, newHeight ?? height)
        (outputWidth, outputHeight) = (nil, nil)
        // The picture is as large as the output: bars would be part of it.
        (settings.width, settings.height) = (width, height)
    }

    /// Creates the default options of a model's configuration.
    public init(_ configuration: StreamConfiguration, height: Int? = nil, width: Int? = nil) {
        self.configuration = configuration
        self.height = height ?? configuration.frameSize.height
        self.width = width ?? configuration.frameSize.width
        settings = StreamSettings()
    }

    /// Creates the options for what a user asks of a model.
    ///
    /// A side that is not given is the model's; `setSize(for:)` chooses it by the frames' shape.
    ///
    /// - Parameter fromText: Whether the stream has no input.
    /// - Throws: `invalidRequest` for settings that no model accepts, or more steps than this one has.
    public init(
        _ configuration: StreamConfiguration,
        _ settings: StreamSettings,
        fromText: Bool = false
    ) throws(SwanError) {
        try settings.check()
        var configuration = configuration
        if let steps = settings.steps { try configuration.keepSteps(steps) }
        if fromText {
            if settings.zeroStep ?? configuration.runsZeroStep { configuration.addZeroStep() }
        } else if settings.zeroStep != nil {
            throw SwanError(
                .invalidRequest,
                "timestep 0 as a last step (zero_step) is for a stream without an input"
            )
        }
        if let noiseScale = settings.noiseScale { configuration.noiseScale = noiseScale }
        self.init(configuration, height: settings.height, width: settings.width)
        self.settings = settings
    }
}

/// The time spent in each stage of a stream, in seconds.
public struct StageSeconds: Sendable, Equatable {
    /// Resizing and the autoencoder's encoder.
    public var encode = 0.0
    /// The transformer.
    public var denoise = 0.0
    /// The autoencoder's decoder.
    public var decode = 0.0
}
