import SwanMedia
import Testing

@Suite("Writing and reading back")
struct RoundTripTests {
    @Test(
        "keeps the number of frames and the exact rate",
        arguments: ["a.mp4", "a.mov", "a.mkv", "a.y4m"],
        [(30000, 1001), (25, 1), (24000, 1001), (15, 2)],
    )
    func countAndRate(name: String, rate: (Int, Int)) throws {
        let folder = try Folder()
        let rate = try #require(Rational(rate.0, rate.1))
        try write(try numbered(37), to: folder.file(name), rate: rate)
        let reader = try VideoReader(path: folder.file(name))
        #expect(reader.info.frameRate == rate)
        #expect(reader.info.width == 64)
        #expect(reader.info.height == 48)
        #expect(!reader.info.hasAudio)
        let frames = try reader.frames()
        #expect(frames.count == 37)
        #expect(!reader.isTruncated)
        #expect(reader.damagedPackets == 0)
        let last = try #require(frames.last)
        // Matroska timestamps are in milliseconds.
        #expect(abs(last.seconds - 36 / rate.value) < 0.001)
        let estimate = try #require(reader.info.estimatedFrames)
        #expect(abs(estimate - 37) <= 1)
    }

    @Test("a video can have a single frame", arguments: ["a.mp4", "a.mkv", "a.y4m"])
    func singleFrame(name: String) throws {
        let folder = try Folder()
        try write(try numbered(1), to: folder.file(name))
        #expect(try VideoReader(path: folder.file(name)).frames().count == 1)
    }

    @Test("FFV1 and RGB H.264 are lossless, including odd sizes", arguments: [false, true])
    func lossless(h264: Bool) throws {
        let folder = try Folder()
        let path = folder.file(h264 ? "a.mp4" : "a.mkv")
        let frames = try (0..<5).map { try VideoFrame.noise(51, 37, seed: $0) }
        let options = VideoWriter.Options(codec: h264 ? .h264Lossless : .automatic)
        if h264, !MediaLibrary.hasEncoder("libx264rgb") { return }
        try write(frames, to: path, options: options)
        let read = try VideoReader(path: path).frames()
        #expect(read.map(\.pixels) == frames.map(\.pixels))
    }

    @Test(
        "colors come back: BT.709 in MP4, BT.601 in YUV4MPEG2",
        arguments: ["a.mp4", "a.y4m"],
        [
            Color(255, 0, 0), Color(0, 255, 0), Color(0, 0, 255), Color(255, 255, 255),
            Color(0, 0, 0), Color(200, 120, 40), Color(128, 128, 128),
        ],
    )
    func colors(name: String, color: Color) throws {
        let folder = try Folder()
        let frame = try VideoFrame.plain(64, 64, color)
        try write([frame, frame, frame], to: folder.file(name))
        let read = try #require(try VideoReader(path: folder.file(name)).nextFrame())
        // A wrong matrix shifts green by at least 15, a wrong range shifts white by 16.
        #expect(read[32, 32].distance(to: color) <= 4)
    }

    @Test("the fast conversion of large frames gives the same colors")
    func largeColors() throws {
        let folder = try Folder()
        let color = Color(30, 180, 90)
        try write([try .plain(1280, 720, color)], to: folder.file("a.mp4"))
        let read = try #require(try VideoReader(path: folder.file("a.mp4")).nextFrame())
        #expect(read[640, 360].distance(to: color) <= 5)
        #expect(read[1279, 719].distance(to: color) <= 5)
    }

    @Test("rows are not shifted at any width", arguments: [2, 6, 18, 34, 66, 130])
    func widths(width: Int) throws {
        let folder = try Folder()
        let frame = try VideoFrame.drawn(width, 8) { x, _ in
            x < width / 2 ? Color(220, 220, 220) : Color(30, 30, 30)
        }
        try write([frame], to: folder.file("a.y4m"))
        let read = try #require(try VideoReader(path: folder.file("a.y4m")).nextFrame())
        for y in 0..<8 {
            #expect(read[0, y].distance(to: frame[0, y]) <= 12)
            #expect(read[width - 1, y].distance(to: frame[width - 1, y]) <= 12)
        }
    }

    @Test("the fallback encoder for libx264 writes a valid video")
    func standIn() throws {
        let folder = try Folder()
        try write(
            try numbered(12),
            to: folder.file("a.mp4"),
            options: VideoWriter.Options(codec: .mpeg4),
        )
        let reader = try VideoReader(path: folder.file("a.mp4"))
        #expect(reader.info.codec == "mpeg4")
        #expect(try reader.frames().count == 12)
    }

    @Test("PNG images are lossless")
    func pictures() throws {
        let folder = try Folder()
        let frame = try VideoFrame.noise(33, 21, seed: 7)
        try writePNG(frame, folder.file("x.png"))
        let read = try readImage(folder.file("x.png"))
        #expect(read.width == 33)
        #expect(read.height == 21)
        #expect(read.pixels == frame.pixels)
        #expect(try folder.contents() == ["x.png"])
    }
}
