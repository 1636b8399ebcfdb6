import CMedia
import Synchronization
public import SwanSystem

/// Decodes the frames of a video file, or of standard input (`-`), in order.
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
        public var frameRate: Rational?

        /// Creates options with defaults.
        public init(maxPixels: Int = 64_000_000, threads: Int? = nil, frameRate: Rational? = nil) {
            self.maxPixels = maxPixels
            self.threads = threads
            self.frameRate = frameRate
        }
    }

    private struct State {
        var sampler: FrameRateSampler?
        var ended = false
        var pace = FramePace()
    }

    /// The properties of the file.
    public let info: VideoInfo
    /// The tracks of audio and subtitles besides the best audio.
    public let furtherTracks: [MediaTrack]
    private let name: String
    /// Used only under the lock of `state`, except for `cm_reader_interrupt`, which is thread-safe.
    nonisolated(unsafe) private let handle: OpaquePointer
    private let state: Mutex<State>
    /// What the handle uses, kept as long as the handle.
    private let kept: (any Sendable)?

    /// Opens a file, or standard input for `-`, and decodes its first frame.
    public convenience init(path: String, options: Options = Options()) throws(SwanError) {
        let name = path == "-" ? "standard input" : path
        var settings = cm_reader_options()
        settings.max_pixels = Int64(clamping: options.maxPixels)
        settings.threads = Int32(clamping: options.threads ?? 0)
        guard !path.utf8.contains(0) else { throw SwanError(.noSuchFile, "\(name): no such file") }
        var opened: OpaquePointer?
        try calling(name) { cm_reader_open(&opened, path, &settings, $0) }
        guard let opened else {
            throw SwanError(.outOfMemory, "\(name): out of memory for a reader")
        }
        self.init(name: name, opened, frameRate: options.frameRate)
    }

    /// Takes an opened reader of the C library, and keeps what it uses.
    init(
        name: String,
        _ opened: OpaquePointer,
        frameRate: Rational?,
        keeping kept: (any Sendable)? = nil
    ) {
        self.name = name
        self.kept = kept
        handle = opened
        var described = cm_video_info()
        cm_reader_info(opened, &described)
        info = VideoInfo(described, resampledTo: frameRate)
        var tracks: [MediaTrack] = []
        var track = cm_track()
        while tracks.count < 1_000, cm_reader_track(opened, Int32(tracks.count), &track) {
            tracks.append(MediaTrack(track))
        }
        furtherTracks = tracks
        state = Mutex(State(sampler: frameRate.map(FrameRateSampler.init(rate:))))
    }

    deinit {
        cm_reader_free(handle)
    }

    /// The next frame, always with the size in `info`; `nil` after the last one.
    public func nextFrame() throws(SwanError) -> VideoFrame? {
        try state.withLock { (state) throws(SwanError) -> VideoFrame? in
            guard state.sampler != nil else {
                let frame = try decode(&state.ended)?.frame
                if let frame { state.pace.add(frame.seconds, info.frameRate) }
                return frame
            }
            var ended = state.ended
            defer { state.ended = ended }
            return try state.sampler?.next { () throws(SwanError) in try decode(&ended) }
        }
    }

    /// Whether the file ends before its index says; final after the last frame.
    public var isTruncated: Bool { state.withLock { _ in cm_reader_is_truncated(handle) } }

    /// The number of packets and frames that could not be decoded so far.
    public var damagedPackets: Int { state.withLock { _ in Int(cm_reader_damaged(handle)) } }

    /// The largest deviation in seconds of a frame from the constant frame rate of `info`, if it exceeds the
    /// distance of two frames; nil otherwise, and if frames are resampled.
    public var unevenSeconds: Double? { state.withLock { $0.pace.unevenSeconds } }

    /// Whether frames so far had another size than the first, to which they were scaled.
    public var changesSize: Bool { state.withLock { _ in cm_reader_changes_size(handle) } }

    /// What was done to the frames so far so that their numbers mean what RGB means.
    public var treatment: FrameTreatment {
        state.withLock { _ in FrameTreatment(cm_reader_treatment(handle)) }
    }

    /// Cancels a blocking read; `nextFrame()` then returns `nil`. Can be called from any thread.
    public func interrupt() {
        cm_reader_interrupt(handle)
    }

    private func decode(_ ended: inout Bool) throws(SwanError) -> TimedFrame? {
        guard !ended else { return nil }
        var shown = cm_frame_info()
        var code = CM_OK
        let frame = try VideoFrame(width: info.width, height: info.height) {
            (bytes) throws(SwanError) in
            code = try calling(name) { error in
                cm_reader_next(
                    handle,
                    bytes.baseAddress?.assumingMemoryBound(to: UInt8.self),
                    bytes.count,
                    &shown,
                    error,
                )
            }
        }
        guard code == CM_OK else {
            ended = true
            return nil
        }
        return TimedFrame(frame: frame.shown(at: shown.seconds), duration: shown.duration)
    }
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
