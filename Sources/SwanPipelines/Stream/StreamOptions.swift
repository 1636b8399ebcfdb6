public import SwanCheckpoints
import Torch

/// What one stream asks for, beyond what its model says.
public struct StreamOptions: Sendable, Equatable {
    /// The size frames are resized to, in pixels; `setSize(for:)` chooses one in the frames' shape.
    public var height, width: Int
    /// The size of the frames that come out, where black bars are to surround the picture; nil for `height`
    /// and `width`.
    public internal(set) var outputHeight, outputWidth: Int?
    /// How frames of another shape come to `height` and `width`.
    public var fit = FrameFit.crop
    /// The width of a pixel of the frames that go in, by its height.
    public internal(set) var pixelAspect = 1.0
    /// How the model streams.
    public var configuration: StreamConfiguration
    /// Whether the noise scale stays as it is, instead of following the motion.
    public var fixedNoise = false
    /// Whether denoising steps of neighbouring chunks run in one batch.
    public var streamBatch = true
    /// Frames a second under which chunks grow, if the cache allows.
    public var targetFPS: Double?
    /// Seed of all random numbers.
    public var seed: UInt64 = 0

    /// The options a model suggests.
    public init(_ configuration: StreamConfiguration, height: Int? = nil, width: Int? = nil) {
        self.configuration = configuration
        self.height = height ?? configuration.frameSize.height
        self.width = width ?? configuration.frameSize.width
    }
}

/// Where the time of a stream went, in seconds.
public struct StageSeconds: Sendable, Equatable {
    /// Resizing and the autoencoder's encoder.
    public var encode = 0.0
    /// The transformer.
    public var denoise = 0.0
    /// The autoencoder's decoder.
    public var decode = 0.0
}
