import CMedia
import SwanSystem

/// Where a `VideoReader` takes frames from. Used by one thread at a time, except for `interrupt`.
protocol FrameSource: AnyObject {
    /// The properties at the source's own rate.
    var info: VideoInfo { get }
    /// The tracks of audio and subtitles besides the best audio.
    var furtherTracks: [MediaTrack] { get }
    /// The next frame, always with the size in `info`; `nil` after the last one.
    func next() throws(SwanError) -> TimedFrame?
    /// Whether the source ends before its index says; final after the last frame.
    var isTruncated: Bool { get }
    /// The number of packets and frames that could not be decoded so far.
    var damagedPackets: Int { get }
    /// Whether frames so far had another size than the first, to which they were fitted.
    var changesSize: Bool { get }
    /// What was done to the frames so far.
    var treatment: FrameTreatment { get }
    /// What is missing, for people.
    var problems: [String] { get }
    /// Cancels a blocking read and all later ones. Can be called from any thread.
    func interrupt()
}

extension FrameSource {
    var furtherTracks: [MediaTrack] { [] }
    var isTruncated: Bool { false }
    var damagedPackets: Int { 0 }
    var changesSize: Bool { false }
    var problems: [String] { [] }
}

/// The frames of a file, a pipe or a live source that FFmpeg decodes.
final class DecodedFrames: FrameSource {
    let info: VideoInfo
    let furtherTracks: [MediaTrack]
    private let name: String
    private let handle: OpaquePointer
    private var ended = false
    /// What the handle uses, kept as long as the handle.
    private let kept: (any Sendable)?

    /// Takes an opened reader of the C library, and keeps what it uses.
    init(name: String, _ opened: OpaquePointer, keeping kept: (any Sendable)? = nil) {
        self.name = name
        self.kept = kept
        handle = opened
        var described = cm_video_info()
        cm_reader_info(opened, &described)
        info = VideoInfo(described)
        var tracks: [MediaTrack] = []
        var track = cm_track()
        while tracks.count < 1_000, cm_reader_track(opened, Int32(tracks.count), &track) {
            tracks.append(MediaTrack(track))
        }
        furtherTracks = tracks
    }

    /// Opens a file, or standard input for `-`, and decodes its first frame.
    convenience init(path: String, options: VideoReader.Options) throws(SwanError) {
        let name = path == "-" ? "standard input" : path
        var settings = cm_reader_options()
        settings.max_pixels = Int64(clamping: options.maxPixels)
        settings.threads = Int32(clamping: options.threads ?? 0)
        settings.fit = options.fit.asC
        guard !path.utf8.contains(0) else { throw SwanError(.noSuchFile, "\(name): no such file") }
        var opened: OpaquePointer?
        try calling(name) { cm_reader_open(&opened, path, &settings, $0) }
        guard let opened else {
            throw SwanError(.outOfMemory, "\(name): out of memory for a reader")
        }
        self.init(name: name, opened)
    }

    deinit {
        cm_reader_free(handle)
    }

    func next() throws(SwanError) -> TimedFrame? {
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

    var isTruncated: Bool { cm_reader_is_truncated(handle) }
    var damagedPackets: Int { Int(cm_reader_damaged(handle)) }
    var changesSize: Bool { cm_reader_changes_size(handle) }
    var treatment: FrameTreatment { FrameTreatment(cm_reader_treatment(handle)) }

    func interrupt() { cm_reader_interrupt(handle) }
}

extension VideoReader.Fit {
    var asC: cm_fit {
        switch self {
        case .crop: CM_FIT_CROP
        case .pad: CM_FIT_PAD
        case .stretch: CM_FIT_STRETCH
        }
    }
}
