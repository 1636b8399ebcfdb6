import CMedia

/// A track of a file besides its video.
public struct MediaTrack: Sendable, Hashable {
    /// What it holds.
    public enum Kind: String, Sendable {
        case sound, subtitles
    }

    /// Its number in the file.
    public let index: Int
    /// What it holds.
    public let kind: Kind
    /// FFmpeg's name for the codec, such as `subrip`.
    public let codec: String
    /// The language's code, such as `fra`; empty if unknown.
    public let language: String

    init(_ track: cm_track) {
        var track = track
        index = Int(track.index)
        kind = track.is_audio ? .sound : .subtitles
        codec = text(&track.codec)
        language = text(&track.language)
    }
}

/// The properties of a video file.
public struct VideoInfo: Sendable, Hashable {
    /// In pixels, as displayed after rotation.
    public let width: Int
    /// In pixels, as displayed after rotation.
    public let height: Int
    /// The average frame rate, or the rate that the reader resamples to.
    public let frameRate: Rational
    /// Whether frames come at another rate than the nominal one, as far as headers say.
    public let varies: Bool
    /// The aspect ratio of a pixel as displayed, width to height.
    public let sampleAspectRatio: Rational
    /// An estimate that is good enough for a progress bar; `nil` if unknown, as for pipes.
    public let estimatedFrames: Int?
    /// The duration; `nil` if unknown.
    public let seconds: Double?
    /// Whether there is an audio track.
    public let hasAudio: Bool
    /// FFmpeg's name for the codec, such as `h264`.
    public let codec: String
    /// FFmpeg's names for the container, such as `mov,mp4,m4a,3gp,3g2,mj2`.
    public let format: String

    init(_ info: cm_video_info) {
        var info = info
        width = Int(info.width)
        height = Int(info.height)
        frameRate = Rational(info.frame_rate)
        varies = info.varies
        sampleAspectRatio = Rational(info.sample_aspect_ratio)
        seconds = info.seconds > 0 ? info.seconds : nil
        estimatedFrames = info.frames > 0 ? Int(info.frames) : nil
        hasAudio = info.has_audio
        codec = text(&info.codec)
        format = text(&info.format)
    }

    /// The properties of pictures that are shown one after the other.
    init(
        pictures count: Int,
        _ size: PixelSize,
        frameRate: Rational,
        varies: Bool = false,
        seconds: Double? = nil,
        codec: String,
        format: String
    ) {
        width = size.width
        height = size.height
        self.frameRate = frameRate
        self.varies = varies
        sampleAspectRatio = .one
        estimatedFrames = count
        self.seconds = seconds ?? Double(count) / frameRate.value
        hasAudio = false
        self.codec = codec
        self.format = format
    }

    private init(_ info: VideoInfo, frameRate: Rational, estimatedFrames: Int?) {
        width = info.width
        height = info.height
        self.frameRate = frameRate
        varies = false
        sampleAspectRatio = info.sampleAspectRatio
        self.estimatedFrames = estimatedFrames
        seconds = info.seconds
        hasAudio = info.hasAudio
        codec = info.codec
        format = info.format
    }

    /// Whether the frames are pictures without times, one or many in a row.
    public var isPictures: Bool {
        // FFmpeg's demuxers for still images are named "png_pipe" and the like.
        format.hasSuffix("_pipe") || format == Self.pictureSequence
    }

    /// The format of pictures in files of their own.
    static let pictureSequence = "pictures"

    /// The properties after resampling to a rate; pictures without times just get it.
    func resampled(to rate: Rational) -> VideoInfo {
        var frames = estimatedFrames
        if let known = estimatedFrames, !isPictures {
            let length = seconds ?? Double(known) / frameRate.value
            // Durations come from headers, and damaged ones must not overflow.
            frames = Int(exactly: (length * rate.value).rounded())
        }
        return VideoInfo(self, frameRate: rate, estimatedFrames: frames)
    }
}

extension Rational {
    /// Converts a fraction of the C library, which are always positive.
    init(_ rational: cm_rational) {
        self = Rational(Int(rational.numerator), Int(rational.denominator)) ?? .one
    }

    var asC: cm_rational {
        cm_rational(numerator: Int32(numerator), denominator: Int32(denominator))
    }
}
