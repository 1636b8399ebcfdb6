import CMedia
import Synchronization
public import SwanSystem

/// Decodes the frames of a video file, of standard input (`-`) or of a sequence of pictures, in order.
///
/// Opens no other files: playlists and scripts that refer to other files are rejected.
public final class VideoReader: Sendable {
    /// Options for reading.
    public struct Options: Sendable {
        /// The maximum number of pixels per frame, checked before allocating memory.
        public var maxPixels = 64_000_000
        /// The number of decoding threads; `nil` chooses by frame size.
        public var threads: Int?
        /// The constant frame rate to resample to, by dropping and repeating frames; `nil` returns
        /// every frame once.
        ///
        /// Pictures without times get this rate, and each is returned once.
        public var frameRate: Rational?
        /// What happens to a frame of another shape than the first.
        public var fit = Fit.crop

        /// Creates options with defaults.
        public init(
            maxPixels: Int = 64_000_000,
            threads: Int? = nil,
            frameRate: Rational? = nil,
            fit: Fit = .crop
        ) {
            self.maxPixels = maxPixels
            self.threads = threads
            self.frameRate = frameRate
            self.fit = fit
        }
    }

    /// How a frame gets the shape of the first.
    public enum Fit: Sendable {
        /// Its edges are cut off.
        case crop
        /// Black bars are added.
        case pad
        /// It is distorted.
        case stretch
    }

    private struct State {
        var sampler: FrameRateSampler?
        var pace = FramePace()
        var frames = 0
    }

    /// The properties of the file.
    public let info: VideoInfo
    /// The tracks of audio and subtitles besides the best audio.
    public let furtherTracks: [MediaTrack]
    /// Used only under the lock of `state`, except for `interrupt`, which is thread-safe.
    nonisolated(unsafe) private let source: any FrameSource
    private let state: Mutex<State>

    /// Opens a file, or standard input for `-`, and decodes its first frame.
    ///
    /// If there is no file with this name, it may be a pattern for numbered pictures
    /// (`frames/%05d.png`) or for names (`frames/*.jpg`); a folder stands for the pictures in it.
    public convenience init(path: String, options: Options = Options()) throws(SwanError) {
        if let pictures = try PictureSequence(named: path) {
            try self.init(pictures: pictures, options: options)
        } else if let animation = try WebPAnimation(path: path, maxPixels: options.maxPixels) {
            self.init(animation, frameRate: options.frameRate)
        } else {
            let frames = try DecodedFrames(path: path, options: options)
            self.init(frames, frameRate: options.frameRate)
        }
    }

    /// Opens pictures that are shown one after the other, 25 in a second or at the rate in `options`.
    public convenience init(pictures: PictureSequence, options: Options = Options())
        throws(SwanError)
    {
        self.init(
            try PictureFrames(pictures, options: options),
            frameRate: options.frameRate
        )
    }

    init(_ source: any FrameSource, frameRate rate: Rational?) {
        self.source = source
        let own = source.info
        info = rate.map { own.resampled(to: $0) } ?? own
        furtherTracks = source.furtherTracks
        let samples = rate != nil && !own.isPictures
        state = Mutex(State(sampler: samples ? rate.map(FrameRateSampler.init(rate:)) : nil))
    }

    /// The next frame, always with the size in `info`; `nil` after the last one.
    public func nextFrame() throws(SwanError) -> VideoFrame? {
        try state.withLock { (state) throws(SwanError) -> VideoFrame? in
            guard state.sampler == nil else {
                return try state.sampler?.next { () throws(SwanError) in try source.next() }
            }
            guard var frame = try source.next()?.frame else { return nil }
            if info.isPictures {
                frame = frame.shown(at: Double(state.frames) / info.frameRate.value)
            }
            state.frames += 1
            state.pace.add(frame.seconds, info.frameRate)
            return frame
        }
    }

    /// Whether the file ends before its index says; final after the last frame.
    public var isTruncated: Bool { state.withLock { _ in source.isTruncated } }

    /// The number of packets and frames that could not be decoded so far.
    public var damagedPackets: Int { state.withLock { _ in source.damagedPackets } }

    /// The largest deviation in seconds of a frame from the constant frame rate of `info`, if it exceeds the
    /// distance of two frames; nil otherwise, and if frames are resampled.
    public var unevenSeconds: Double? { state.withLock { $0.pace.unevenSeconds } }

    /// Whether frames so far had another size than the first, to which they were fitted.
    public var changesSize: Bool { state.withLock { _ in source.changesSize } }

    /// What was done to the frames so far so that their numbers mean what RGB means.
    public var treatment: FrameTreatment { state.withLock { _ in source.treatment } }

    /// What is missing in the frames so far, for people: pictures that cannot be read, and numbers
    /// without a picture.
    public var problems: [String] { state.withLock { _ in source.problems } }

    /// Cancels a blocking read; `nextFrame()` then returns `nil`. Can be called from any thread.
    public func interrupt() { source.interrupt() }
}

/// What a reader does with frames that are not plain pictures of standard dynamic range.
public struct FrameTreatment: Sendable, Hashable {
    /// Interlaced fields were made frames, by FFmpeg's bwdif.
    public let isDeinterlaced: Bool
    /// PQ or HLG was tone-mapped to BT.709.
    public let isToneMapped: Bool
    /// PQ or HLG was taken for BT.709, because this FFmpeg has no zscale filter.
    public let hasWrongTones: Bool
    /// Interlaced frames were left as they are, because FFmpeg's libavfilter cannot be loaded.
    public let hasCombs: Bool
    /// Transparent parts became black.
    public let isBlended: Bool

    /// Nothing but, if so, that transparent parts became black.
    init(isBlended: Bool) {
        self.isBlended = isBlended
        (isDeinterlaced, isToneMapped, hasWrongTones, hasCombs) = (false, false, false, false)
    }

    init(_ treatment: cm_treatment) {
        isDeinterlaced = treatment.deinterlaced
        isToneMapped = treatment.tone_mapped
        hasWrongTones = treatment.stays_high
        hasCombs = treatment.stays_combed
        isBlended = treatment.blended
    }
}

/// How far the times of frames are from a constant rate.
private struct FramePace {
    private var frames = 0
    private(set) var unevenSeconds: Double?

    mutating func add(_ seconds: Double, _ rate: Rational) {
        let distance = abs(seconds - Double(frames) / rate.value)
        frames += 1
        guard distance * rate.value > 2, distance.isFinite else { return }
        unevenSeconds = max(unevenSeconds ?? 0, distance)
    }
}
