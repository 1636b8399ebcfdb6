import Foundation
import GoldenSupport
import SoundSupport
import SwanMedia
import Testing

/// The sound and the shape of the output of `swan stream`.
@Suite struct SoundAndShapeTests {
    private let folder: TemporaryDirectory
    private let fixture: Fixture

    init() throws {
        folder = try TemporaryDirectory()
        fixture = try Fixture.shared.get()
    }

    private func stream(_ arguments: String..., input: Data = Data()) throws -> Program.Outcome {
        try Program(
            ["stream", "--model", fixture.model, "--progress", "none", "--prompt", "a cat"]
                + arguments
        ).end(input: input)
    }

    /// A video of 16x16 with a tone, at 25 frames and 8,000 samples per second.
    private func clip(_ frames: Int, as encoder: String = "flac") throws -> String {
        let path = folder.path("in.mkv")
        let samples = (0..<(frames * 320)).map { Float(($0 % 40) - 20) / 40 }
        let status = encoder.withCString { encoder in
            "matroska".withCString { container in
                var file = sound_file()
                (file.container, file.encoder) = (container, encoder)
                (file.rate, file.channels, file.frames) = (8_000, 1, Int32(frames))
                return sound_write(path, &file, samples, Int32(samples.count))
            }
        }
        try #require(status == 0)
        return path
    }

    private func sound(_ path: String) throws -> (codec: String, end: Double) {
        var heard = sound_heard()
        try #require(sound_read(path, &heard) == 0)
        defer { sound_free(&heard) }
        let codec = withUnsafeBytes(of: heard.codec) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        return (codec, heard.end)
    }

    // MARK: - Sound

    @Test func encodesSoundThatTheOutputCannotHold() throws {
        let (clip, out) = (try clip(21), folder.path("out.mov"))
        let outcome = try stream(clip, "-o", out, "--json", "-")
        #expect(outcome.code == 0, "\(outcome.messages)")
        #expect(outcome.messages.contains("'flac'") && outcome.messages.contains("'aac'"))
        #expect(try StreamTests.fields(outcome.output)["has_audio"] as? Bool == true)
        let sound = try sound(out)
        #expect(sound.codec == "aac")
        // An AAC packet has 0.128 s at this rate.
        #expect((0.84..<0.97).contains(sound.end), "\(sound)")
    }

    @Test(arguments: [
        ("webm", ["opus", "vorbis"]), ("avi", ["flac", "mp3", "pcm_s16le"]), ("ts", ["aac"]),
    ])
    func encodesSoundAsTheContainerNeeds(ending: String, codecs: [String]) throws {
        let (clip, out) = (try clip(21), folder.path("out.\(ending)"))
        let outcome = try stream(clip, "-o", out, "--json", "-")
        #expect(outcome.code == 0, "\(outcome.messages)")
        #expect(try StreamTests.fields(outcome.output)["has_audio"] as? Bool == true)
        let sound = try sound(out)
        #expect(codecs.contains(sound.codec), "\(sound)")
        #expect(try Fixture.count(out) == 21)
    }

    @Test func soundEndsWithTheLastFrame() throws {
        let (clip, out) = (try clip(50), folder.path("out.mkv"))
        let outcome = try stream(clip, "--max-frames", "13", "-o", out, "--json", "-")
        #expect(outcome.code == 0, "\(outcome.messages)")
        #expect(try StreamTests.fields(outcome.output)["has_audio"] as? Bool == true)
        let sound = try sound(out)
        // A packet of this codec has at most 0.16 s at this rate.
        #expect(sound.codec == "flac" && (0.5...0.7).contains(sound.end), "\(sound)")
    }

    @Test func soundOfAStoppedStreamEndsWithItsLastFrame() throws {
        let (clip, out) = (try clip(900), folder.path("out.mov"))
        let summary = folder.path("summary.json")
        let program = try Program([
            "stream", clip, "--model", fixture.model, "--prompt", "a cat", "-o", out,
            "--progress", "json", "--json", summary,
        ])
        program.wait(for: "\"frames_out\":5")
        program.send(SIGINT)
        #expect(try program.end().code == 130)
        let fields = try StreamTests.fields(Data(contentsOf: URL(fileURLWithPath: summary)))
        let frames = try Fixture.count(out)
        #expect(fields["has_audio"] as? Bool == true)
        #expect(abs(try sound(out).end - Double(frames) / 25) < 0.2)
    }

    @Test func warnsOfLostSound() throws {
        let clip = try clip(5)
        for output in ["out.y4m", "out%d.png"] {
            let outcome = try stream(clip, "-o", folder.path(output), "--json", "-")
            #expect(outcome.code == 0, "\(outcome.messages)")
            #expect(outcome.messages.contains("no sound"), "\(output)")
            #expect(try StreamTests.fields(outcome.output)["has_audio"] as? Bool == false)
        }
        let bytes = try Data(contentsOf: URL(fileURLWithPath: clip))
        let piped = try stream("-", "-o", folder.path("o.mp4"), "--json", "-", input: bytes)
        #expect(piped.code == 0, "\(piped.messages)")
        #expect(piped.messages.contains("no sound: standard input"))
        #expect(try StreamTests.fields(piped.output)["has_audio"] as? Bool == false)
    }

    // MARK: - Shape

    /// The width and height of the output, and the messages.
    private func size(_ arguments: String...) throws -> (size: [Int], messages: String) {
        let clip = folder.path("in.mkv")
        try Fixture.write(clip, frames: 5, width: 96, height: 54)
        let out = folder.path("out.mkv")
        let outcome = try Program(
            ["stream", clip, "--model", fixture.model, "--progress", "none", "--prompt", "a cat"]
                + ["-o", out, "-y", "--json", "-"] + arguments
        ).end()
        #expect(outcome.code == 0, "\(outcome.messages)")
        let fields = try StreamTests.fields(outcome.output)
        let info = try VideoReader(path: out).info
        #expect(fields["width"] as? Int == info.width && fields["height"] as? Int == info.height)
        return ([info.width, info.height], outcome.messages)
    }

    @Test func keepsTheShapeOfTheInput() throws {
        let (size, messages) = try size()
        #expect(size == [64, 32])
        #expect(messages.contains("swan: the output has 64x32 pixels"))
        #expect(messages.contains("the model's own size is 32x32"))
        #expect(try self.size("--width", "144").size == [144, 80])
        #expect(try self.size("--height", "96").size == [176, 96])
    }

    @Test func fitsBothSidesAsRequested() throws {
        let square = ["--width", "64", "--height", "64"]
        let cropped = try size(square[0], square[1], square[2], square[3])
        #expect(cropped.size == [64, 64])
        #expect(cropped.messages.contains("44 % of each frame is cut off"))
        let stretched = try size(square[0], square[1], square[2], square[3], "--fit", "stretch")
        #expect(stretched.size == [64, 64] && stretched.messages.isEmpty)
        let padded = try size(square[0], square[1], square[2], square[3], "--fit", "pad")
        #expect(padded.size == [64, 64])
        #expect(padded.messages.contains("the picture has 64x32 pixels, with black bars to 64x64"))
        let reader = try VideoReader(path: folder.path("out.mkv"))
        while let frame = try reader.nextFrame() {
            let bar = 3 * 64 * 16
            #expect(frame.pixels[..<bar].allSatisfy { $0 == 0 })
            #expect(frame.pixels[(3 * bar)...].allSatisfy { $0 == 0 })
            #expect(frame.pixels[bar..<(3 * bar)].contains { $0 != 0 })
        }
    }

    @Test func refusesInvalidSizesBeforeReadingTheInput() throws {
        for option in ["--width", "--height"] {
            let outcome = try stream("nothing.mp4", option, "100", "-o", folder.path("o.mp4"))
            #expect(outcome.code == 64 && outcome.messages.contains("multiples of 16"))
        }
    }

    @Test func writesOnePictureForOneFrame() throws {
        let still = folder.path("still.png")
        try writePNG(
            VideoFrame(width: 48, height: 32) {
                $0.initializeMemory(as: UInt8.self, repeating: 90)
            },
            still
        )
        for input in [still, fixture.clip] {
            let out = folder.path("o.png")
            let outcome = try stream(input, "--max-frames", "1", "-o", out, "-y")
            #expect(outcome.code == 0, "\(outcome.messages)")
            #expect(try readImage(out).width == 48)
        }
        let video = try stream(fixture.clip, "-o", folder.path("video.png"))
        #expect(video.code == 64 && video.messages.contains("frame_%05d.png"))
    }
}
