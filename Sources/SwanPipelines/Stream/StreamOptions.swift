public import SwanCheckpoints
import Torch

/// The settings of one stream, in addition to its model's.
public struct StreamOptions: Sendable, Equatable {
    /// The size in pixels that frames are resized to; `setSize(for:)` keeps their aspect ratio.
    public var height, width: Int
    /// The size of the output frames if black bars are added; `nil` for `height` and `width`.
    public internal(set) var outputHeight, outputWidth: Int?
    /// How frames with another aspect ratio are fitted to `height` and `width`.
    public var fit = FrameFit.crop
    /// The pixel aspect ratio of the input frames: a pixel's width divided by its height.
    public internal(set) var pixelAspect = 1.0
    /// The streaming configuration.
    public var configuration: StreamConfiguration
    /// Whether the noise scale stays constant instead of adapting to motion.
    public var fixedNoise = false
    /// Whether denoising steps of neighboring chunks run in one batch.
    public var streamBatch = true
    /// The rate in frames per second below which chunks grow, if the cache allows it.
    public var targetFPS: Double?
    /// The seed of all random numbers.
    public var seed: UInt64 = 0

    /// Creates the default options of a model's configuration.
    public init(_ configuration: StreamConfiguration, height: Int? = nil, width: Int? = nil) {
        self.configuration = configuration
        self.height = height ?? configuration.frameSize.height
        self.width = width ?? configuration.frameSize.width
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
