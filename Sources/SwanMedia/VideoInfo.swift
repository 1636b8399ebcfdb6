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

    init(_ info: cm_video_info, resampledTo rate: Rational?) {
        var info = info
        let own = Rational(info.frame_rate)
        width = Int(info.width)
        height = Int(info.height)
        frameRate = rate ?? own
        varies = rate == nil && info.varies
        sampleAspectRatio = Rational(info.sample_aspect_ratio)
        seconds = info.seconds > 0 ? info.seconds : nil
        if let rate, info.frames > 0 {
            let length = info.seconds > 0 ? info.seconds : Double(info.frames) / own.value
            // Durations come from headers, and damaged ones must not overflow.
            estimatedFrames = Int(exactly: (length * rate.value).rounded())
        } else {
            estimatedFrames = info.frames > 0 ? Int(info.frames) : nil
        }
        hasAudio = info.has_audio
        codec = text(&info.codec)
        format = text(&info.format)
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
