import SoundSupport
import SwanMedia
import Testing

@Suite("Copying the input's audio")
struct SoundTests {
    private static let encoders = [
        "pcm_s16le", "pcm_s24le", "pcm_f32le", "flac", "libopus", "libvorbis", "libmp3lame", "aac",
        "ac3", "alac",
    ]

    private let folder: Folder

    init() throws {
        folder = try Folder()
    }

    /// The result of copying a video's frames and audio.
    private struct Outcome {
        let audio: AudioCopy
        let writer: VideoWriter
        let heard: Heard
    }

    /// Copies the first frames of a video and its audio.
    private func copy(
        _ input: String,
        to name: String,
        frames: Int = .max,
        keepingAudio: Bool = false
    ) throws -> Outcome {
        let reader = try VideoReader(path: input)
        #expect(reader.info.hasAudio)
        let writer = try VideoWriter(
            path: folder.file(name),
            width: 16,
            height: 16,
            frameRate: try #require(Rational(25)),
        )
        let audio = writer.copyAudio(from: input)
        #expect(!writer.hasAudio)
        while writer.frameCount < frames, let frame = try reader.nextFrame() {
            try writer.append(frame)
        }
        try writer.finish(keepingAudio: keepingAudio)
        return Outcome(audio: audio, writer: writer, heard: try Heard(folder.file(name)))
    }

    @Test(
        "is carried over, whatever the codec and the container",
        arguments: encoders,
        ["mp4", "mov", "mkv"]
    )
    func everyCodec(encoder: String, output: String) throws {
        guard MediaLibrary.hasEncoder(encoder) else { return }
        let input = folder.file("in.mkv")
        try Sound().write(to: input, as: encoder)
        let original = try Heard(input)
        for frames in [25, 10] {
            let copy = try copy(input, to: "out.\(output)", frames: frames)
            let seconds = Double(frames) / 25
            #expect(copy.writer.hasAudio)
            #expect(copy.writer.damagedAudioPackets == 0)
            copy.heard.expect(like: original, seconds: seconds)
            if copy.audio == .copied {
                #expect(copy.heard.codec == original.codec)
                if frames == 25 { #expect(copy.heard.digest == original.digest) }
                // A packet that starts before the end is written completely.
                #expect((seconds - 0.03...seconds + 0.11).contains(copy.heard.end))
            } else {
                #expect(copy.heard.codec == (output == "mkv" ? "flac" : "aac"))
                #expect(abs(copy.heard.end - seconds) < 0.025)
            }
        }
    }

    @Test("re-encodes only if necessary")
    func copies() throws {
        for (encoder, output, isCopied) in [
            ("pcm_s16le", "mov", true), ("pcm_s16le", "mkv", true), ("aac", "mp4", true),
            ("flac", "mkv", true), ("flac", "mov", false), ("ac3", "mp4", true),
        ] {
            let input = folder.file("in.mkv")
            try Sound().write(to: input, as: encoder)
            let audio = try copy(input, to: "out.\(output)").audio
            let meant: AudioCopy = isCopied ? .copied : .encoded(from: encoder, by: "aac")
            #expect(audio == meant, "\(encoder) to \(output)")
        }
    }

    @Test("stays in sync if the audio starts or ends at another time than the video")
    func times() throws {
        let input = folder.file("in.mkv")
        func check(
            start: Double,
            video: Double,
            seconds: Double,
            keepingAudio: Bool = false,
            end: Double,
            location: SourceLocation = #_sourceLocation
        ) throws {
            let sound = Sound(seconds: seconds)
            try sound.write(to: input, as: "flac", start: start, video: video)
            let original = try Heard(input)
            let copy = try copy(input, to: "out.mov", keepingAudio: keepingAudio)
            #expect(copy.writer.hasAudio, sourceLocation: location)
            copy.heard.expect(like: original, seconds: min(end, 1), location: location)
            #expect(abs(copy.heard.end - end) < 0.025, sourceLocation: location)
        }
        try check(start: 0.3, video: 0, seconds: 1, end: 1)
        try check(start: 0, video: 0.3, seconds: 2, end: 1)
        try check(start: 0, video: 0, seconds: 0.4, end: 0.4)
        try check(start: 0, video: 0, seconds: 1.7, end: 1)
        try check(start: 0, video: 0, seconds: 1.7, keepingAudio: true, end: 1.7)
        // No silence is added after the last frame.
        try check(start: 900, video: 0, seconds: 1, keepingAudio: true, end: 1)
    }

    @Test("keeps channels and sample rate", arguments: [1, 2, 4, 6], [8_000, 44_100, 192_000])
    func forms(channels: Int, rate: Int) throws {
        let input = folder.file("in.mov")
        try Sound(rate: rate, channels: channels)
            .write(to: input, as: "pcm_f32be", container: "mov")
        let original = try Heard(input)
        let lossy = try copy(input, to: "out.mp4")
        lossy.heard.expect(like: original, seconds: 1)
        // AAC supports at most 96 kHz, and a quadraphonic layout becomes 5.0 with a silent channel.
        #expect(lossy.heard.rate == min(rate, 96_000))
        #expect(lossy.heard.channels == (channels == 4 ? 5 : channels))
        guard case .encoded(from: "pcm_f32be", by: "flac") = try copy(input, to: "o.mkv").audio
        else {
            Issue.record("Matroska takes floats of this order")
            return
        }
        let exact = try Heard(folder.file("o.mkv"))
        exact.expect(like: original, seconds: 1, within: 1e-5)
        #expect(exact.rate == rate && exact.channels == channels)
    }

    @Test("uses the first of several tracks")
    func tracks() throws {
        let input = folder.file("in.mkv")
        try Sound().write(to: input, as: "flac", tracks: 3)
        let original = try Heard(input)
        try copy(input, to: "out.mov").heard.expect(like: original, seconds: 1)
    }

    @Test("loses only damaged audio")
    func damage() throws {
        let input = folder.file("in.mkv")
        try Sound(seconds: 2).write(to: input, as: "flac", frames: 50)
        let original = try Heard(input)
        var bytes = try folder.bytes(of: "in.mkv")
        // Inside a packet of a few thousand bytes, so the container stays intact.
        for at in (bytes.count / 3)..<(bytes.count / 3 + 20) { bytes[at] ^= 0x5A }
        let damaged = try folder.write(bytes, to: "damaged.mkv")
        let copy = try copy(damaged, to: "out.mov", frames: 50)
        #expect(copy.writer.hasAudio)
        copy.heard.expect(like: original, from: 1.2, seconds: 0.8)
        #expect(abs(copy.heard.end - 2) < 0.025)
    }

    @Test("accepts samples that are not finite")
    func notFinite() throws {
        let input = folder.file("in.mkv")
        var samples = Sound().samples
        for index in stride(from: 0, to: samples.count, by: 97) {
            samples[index] = [.nan, .infinity, -.infinity, 1e30][index % 4]
        }
        try Sound().write(to: input, as: "pcm_f32le", samples: samples)
        #expect(try copy(input, to: "out.mp4").writer.hasAudio)
    }

    @Test("copies PCM audio")
    func handmade() throws {
        let input = try folder.write(Handmade.avi(frames: 20), to: "a.avi")
        for name in ["b.mov", "b.mkv"] {
            let reader = try VideoReader(path: input)
            let writer = try VideoWriter(
                path: folder.file(name),
                width: 16,
                height: 16,
                frameRate: reader.info.frameRate,
            )
            #expect(writer.copyAudio(from: input) == .copied)
            while let frame = try reader.nextFrame() { try writer.append(frame) }
            try writer.finish()
            let result = try VideoReader(path: folder.file(name))
            #expect(result.info.hasAudio)
            #expect(try result.frames().count == 20)
            // 2 s of 16-bit samples at 8 kHz, and little video.
            #expect(try folder.bytes(of: name).count > 32000)
        }
    }

    @Test("is cut at the end of the video")
    func cut() throws {
        let input = try folder.write(Handmade.avi(frames: 40), to: "a.avi")
        let rate = try #require(Rational(10))
        let writer = try VideoWriter(
            path: folder.file("b.mov"),
            width: 16,
            height: 16,
            frameRate: rate,
        )
        #expect(writer.copyAudio(from: input) == .copied)
        for _ in 0..<10 { try writer.append(try .plain(16, 16, Color(9, 9, 9))) }
        try writer.finish()
        let size = try folder.bytes(of: "b.mov").count
        #expect(size > 16000)
        #expect(size < 24000)
    }

    @Test("reports why audio is missing or unusable")
    func skipped() throws {
        let input = try folder.write(Handmade.avi(frames: 40), to: "a.avi")
        let unknown = try folder.write(Handmade.avi(frames: 40, soundTag: 0x7A7A), to: "u.avi")
        let silent = folder.file("silent.mkv")
        try write(try numbered(3), to: silent)
        let rate = try #require(Rational(10))
        func attempt(_ name: String, _ source: String) throws -> String {
            let writer = try VideoWriter(
                path: folder.file(name),
                width: 16,
                height: 16,
                frameRate: rate,
            )
            guard case .skipped(let reason) = writer.copyAudio(from: source) else {
                return "copied"
            }
            try writer.append(try .plain(16, 16, Color(0, 0, 0)))
            try writer.finish()
            #expect(!writer.hasAudio)
            return reason
        }
        #expect(try attempt("b.mov", silent).contains("no audio"))
        #expect(try attempt("b.mov", unknown).contains("decoder"))
        #expect(try attempt("b.mov", folder.file("none")).contains("no such file"))
        #expect(try attempt("b.mov", "-").contains("pipe"))
        #expect(try attempt("b.y4m", input).contains("has no audio"))
        #expect(try attempt("b%d.png", input).contains("has no audio"))
    }
}
