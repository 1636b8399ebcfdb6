import CMedia

/// What a video file says about itself.
public struct VideoInfo: Sendable, Hashable {
    /// The size as shown, after rotation.
    public let width: Int
    /// The size as shown, after rotation.
    public let height: Int
    /// Frames a second, on average; what the reader resamples to, where it was told to.
    public let frameRate: Rational
    /// The shape of a pixel, width by height, as shown.
    public let sampleAspectRatio: Rational
    /// A guess good enough for a progress bar; `nil` for pipes and other files that do not say.
    public let estimatedFrames: Int?
    /// The length; `nil` where the file does not say.
    public let seconds: Double?
    /// Whether there is a sound track.
    public let hasAudio: Bool
    /// FFmpeg's name of the codec, such as `h264`.
    public let codec: String
    /// FFmpeg's names of the container, such as `mov,mp4,m4a,3gp,3g2,mj2`.
    public let format: String

    init(_ info: cm_video_info, resampledTo rate: Rational?) {
        var info = info
        let own = Rational(info.frame_rate)
        width = Int(info.width)
        height = Int(info.height)
        frameRate = rate ?? own
        sampleAspectRatio = Rational(info.sample_aspect_ratio)
        seconds = info.seconds > 0 ? info.seconds : nil
        if let rate, info.frames > 0 {
            let length = info.seconds > 0 ? info.seconds : Double(info.frames) / own.value
            // Lengths come from headers; a damaged one must not overflow.
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
    /// The C library gives positive fractions only.
    init(_ rational: cm_rational) {
        self = Rational(Int(rational.numerator), Int(rational.denominator)) ?? .one
    }

    var asC: cm_rational {
        cm_rational(numerator: Int32(numerator), denominator: Int32(denominator))
    }
}
