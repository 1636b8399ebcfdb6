import Foundation
import SwanMedia
import Testing
import SwanSystem

@Suite("Reading")
struct ReaderTests {
    /// A frame of four quadrants: red, green / blue, white.
    static func quarters(_ width: Int, _ height: Int) throws -> VideoFrame {
        try .drawn(width, height) { x, y in
            switch (x < width / 2, y < height / 2) {
            case (true, true): Color(255, 0, 0)
            case (false, true): Color(0, 255, 0)
            case (true, false): Color(0, 0, 255)
            case (false, false): Color(255, 255, 255)
            }
        }
    }

    // Rows of the track header's matrix, 16.16: x' = a x + c y, y' = b x + d y.
    @Test(
        "rotation and mirroring tags are obeyed",
        arguments: [
            (matrix: [1, 0, 0, 1], corners: "RGBW"),
            (matrix: [0, 1, -1, 0], corners: "BRWG"),
            (matrix: [-1, 0, 0, -1], corners: "WBGR"),
            (matrix: [0, -1, 1, 0], corners: "GWRB"),
            (matrix: [-1, 0, 0, 1], corners: "GRWB"),
            (matrix: [1, 0, 0, -1], corners: "BWRG"),
            (matrix: [0, 1, 1, 0], corners: "RBGW"),
            (matrix: [0, -1, -1, 0], corners: "WGBR"),
        ],
    )
    func orientation(matrix: [Int], corners: String) throws {
        let folder = try Folder()
        try write([try Self.quarters(96, 64)], to: folder.file("a.mp4"))
        let (a, b, c, d) = (matrix[0], matrix[1], matrix[2], matrix[3])
        let unit: Int32 = 1 << 16
        let turned = try #require(
            Handmade.turn(
                try folder.bytes(of: "a.mp4"),
                matrix: [
                    Int32(a) * unit, Int32(b) * unit, 0,
                    Int32(c) * unit, Int32(d) * unit, 0,
                    0, 0, 1 << 30,
                ],
            )
        )
        let reader = try VideoReader(path: try folder.write(turned, to: "b.mp4"))
        let upright = b == 0
        #expect(reader.info.width == (upright ? 96 : 64))
        #expect(reader.info.height == (upright ? 64 : 96))
        let frame = try #require(try reader.nextFrame())
        let (left, right) = (frame.width / 4, frame.width * 3 / 4)
        let (top, bottom) = (frame.height / 4, frame.height * 3 / 4)
        let seen = [frame[left, top], frame[right, top], frame[left, bottom], frame[right, bottom]]
        let names: [(Character, Color)] = [
            ("R", Color(255, 0, 0)), ("G", Color(0, 255, 0)), ("B", Color(0, 0, 255)),
            ("W", Color(255, 255, 255)),
        ]
        let named = seen.map { color in
            names.first { $0.1.distance(to: color) < 30 }?.0 ?? "?"
        }
        #expect(String(named) == corners)
    }

    @Test("frames keep their timestamps")
    func variableRate() throws {
        let folder = try Folder()
        let gif = Handmade.gif([(20, 10), (60, 30), (100, 20), (140, 40)])
        let reader = try VideoReader(path: try folder.write(gif, to: "a.gif"))
        let frames = try reader.frames()
        #expect(frames.map { ($0.seconds * 100).rounded() } == [0, 10, 40, 60])
        #expect(frames.map { $0[4, 4].red } == [20, 60, 100, 140])
    }

    @Test("strongly variable frame rates are reported")
    func unevenTimes() throws {
        let folder = try Folder()
        let quick = [(gray: UInt8, centiseconds: UInt8)](repeating: (20, 10), count: 8)
        let even = try VideoReader(path: try folder.write(Handmade.gif(quick), to: "a.gif"))
        _ = try even.frames()
        #expect(even.unevenSeconds == nil && !even.changesSize)
        let path = try folder.write(Handmade.gif(quick + [(60, 100), (100, 100)]), to: "b.gif")
        let uneven = try VideoReader(path: path)
        _ = try uneven.frames()
        #expect(try #require(uneven.unevenSeconds) > 1)
        let rate = Rational(10)
        let resampled = try VideoReader(path: path, options: .init(frameRate: rate))
        _ = try resampled.frames()
        #expect(resampled.unevenSeconds == nil)
    }

    @Test("a changing frame size is reported")
    func changingSize() throws {
        let folder = try Folder()
        var bytes = try VideoFrame.plain(32, 32, Color(20, 20, 20)).png()
        bytes += try VideoFrame.plain(32, 48, Color(60, 60, 60)).png()
        let reader = try VideoReader(path: try folder.write(bytes, to: "a.png"))
        #expect(try reader.frames().map(\.height) == [32, 32])
        #expect(reader.changesSize)
    }

    @Test("resampling to a constant rate uses the nearest frame and keeps the duration")
    func resampling() throws {
        let folder = try Folder()
        let gif = Handmade.gif([(20, 10), (60, 30), (100, 20), (140, 40)])
        let path = try folder.write(gif, to: "a.gif")
        let rate = try #require(Rational(10))
        let reader = try VideoReader(path: path, options: .init(frameRate: rate))
        #expect(reader.info.frameRate == rate)
        let frames = try reader.frames()
        #expect(frames.map { $0[4, 4].red } == [20, 60, 60, 100, 100, 140, 140, 140, 140, 140])
        #expect(frames.map { ($0.seconds * 10).rounded() } == (0..<10).map(Double.init))
    }

    @Test("resampling to half and double the rate")
    func halfAndDouble() throws {
        let folder = try Folder()
        try write(try numbered(20), to: folder.file("a.mkv"), rate: Rational(20))
        for (rate, count) in [(10, 20 / 2), (40, 20 * 2), (20, 20)] {
            let options = VideoReader.Options(frameRate: Rational(rate))
            let reader = try VideoReader(path: folder.file("a.mkv"), options: options)
            #expect(reader.info.estimatedFrames == count)
            #expect(try reader.frames().count == count)
        }
    }

    @Test("frames of another size are scaled to the first frame's size")
    func resolutionChange() throws {
        let folder = try Folder()
        try writePNG(try .plain(40, 30, Color(200, 10, 10)), folder.file("1.png"))
        try writePNG(try .plain(64, 64, Color(10, 200, 10)), folder.file("2.png"))
        let both = try folder.bytes(of: "1.png") + folder.bytes(of: "2.png")
        let frames = try VideoReader(path: try folder.write(both, to: "both.png")).frames()
        #expect(frames.map(\.width) == [40, 40])
        #expect(frames.map(\.height) == [30, 30])
        #expect(frames.map { $0[20, 15].green > 150 } == [false, true])
    }

    @Test(
        "a cut file gives the frames that are there, then says so",
        arguments: ["a.mp4", "a.mkv"]
    )
    func truncated(name: String) throws {
        let folder = try Folder()
        let frames = try (0..<40).map { try VideoFrame.noise(64, 48, seed: $0) }
        try write(frames, to: folder.file(name))
        let whole = try folder.bytes(of: name)
        let cut = try folder.write([UInt8](whole.prefix(whole.count * 6 / 10)), to: "cut-" + name)
        let reader = try VideoReader(path: cut)
        let read = try reader.frames()
        #expect(read.count > 10)
        #expect(read.count < 40)
        #expect(reader.isTruncated)
        // The frames before the cut equal those of the whole file.
        let uncut = try VideoReader(path: folder.file(name)).frames()
        #expect(read[5].pixels == uncut[5].pixels)
    }

    @Test("damage in the middle loses only frames")
    func damaged() throws {
        let folder = try Folder()
        let frames = try (0..<30).map { try VideoFrame.noise(64, 48, seed: $0) }
        try write(frames, to: folder.file("a.mkv"))
        var bytes = try folder.bytes(of: "a.mkv")
        let middle = bytes.count / 2
        for at in middle..<(middle + 2000) { bytes[at] = UInt8(truncatingIfNeeded: at &* 31) }
        let reader = try VideoReader(path: try folder.write(bytes, to: "b.mkv"))
        #expect(try reader.frames().count >= 10)
    }

    @Test("the pixel limit applies before memory is allocated")
    func pixelLimit() throws {
        let folder = try Folder()
        try writePNG(try .noise(64, 64, seed: 1), folder.file("a.png"))
        let small = VideoReader.Options(maxPixels: 4000)
        let refused = try failure {
            _ = try VideoReader(path: folder.file("a.png"), options: small)
        }
        #expect(refused.code == .tooLarge)
        let enough = VideoReader.Options(maxPixels: 64 * 64)
        #expect(try VideoReader(path: folder.file("a.png"), options: enough).frames().count == 1)

        let huge = Handmade.jpegHeader(width: 16000, height: 16000)
        let path = try folder.write(huge, to: "huge.jpg")
        let error = try failure { _ = try readImage(path) }
        #expect(error.code == .tooLarge)
        #expect(error.message.contains("64000000"))
    }

    @Test("reading stops when interrupted")
    func interrupted() throws {
        let folder = try Folder()
        try write(try numbered(20), to: folder.file("a.mp4"))
        let reader = try VideoReader(path: folder.file("a.mp4"))
        #expect(try reader.nextFrame() != nil)
        reader.interrupt()
        #expect(try reader.nextFrame() == nil)
    }

    @Test("standard input can be a YUV4MPEG2 pipe", .serialized, arguments: [false, true])
    func pipes(resampled: Bool) async throws {
        let folder = try Folder()
        try write(try numbered(15), to: folder.file("a.y4m"), rate: Rational(30000, 1001))
        let bytes = try folder.bytes(of: "a.y4m")
        let pipe = folder.file("pipe")
        #expect(mkfifo(pipe, 0o600) == 0)
        let feeder = Thread {
            let output = FileHandle(forWritingAtPath: pipe)
            output?.write(Data(bytes))
            output?.closeFile()
        }
        feeder.start()
        let rate = resampled ? Rational(15) : nil
        let reader = try VideoReader(path: pipe, options: .init(frameRate: rate))
        #expect(reader.info.frameRate == (resampled ? Rational(15) : Rational(30000, 1001)))
        #expect(reader.info.estimatedFrames == nil)
        #expect(try reader.frames().count == (resampled ? 8 : 15))
    }

    @Test("pipes can be 4:2:2 and 4:4:4", arguments: [("422", 2), ("444", 3), ("420mpeg2", 0)])
    func chroma(layout: String, factor: Int) throws {
        let folder = try Folder()
        let chroma = factor == 0 ? 2 * 16 : factor == 2 ? 2 * 32 : 2 * 64
        let header = Array("YUV4MPEG2 W8 H8 F25:1 Ip A1:1 C\(layout)\n".utf8)
        let frame = Array("FRAME\n".utf8) + [UInt8](repeating: 235, count: 64)
        let neutral = [UInt8](repeating: 128, count: chroma)
        let path = try folder.write(header + frame + neutral + frame + neutral, to: "a.y4m")
        let frames = try VideoReader(path: path).frames()
        #expect(frames.count == 2)
        #expect(try #require(frames.first)[4, 4].distance(to: Color(255, 255, 255)) <= 2)
    }

    @Test(
        "a rate or a pixel's shape that cannot be is none",
        arguments: [
            ("F0:0", "A0:0"), ("F1:2147483647", "A1:0"), ("F2147483647:1", "A0:1"),
            ("F1000000:1", "A-1:1"), ("F-5:1", "A1:-1"),
        ]
    )
    func absurdRates(rate: String, aspect: String) throws {
        let folder = try Folder()
        let frame = Array("FRAME\n".utf8) + [UInt8](repeating: 128, count: 16 * 16 * 3 / 2)
        let header = Array("YUV4MPEG2 W16 H16 \(rate) \(aspect) C420jpeg\n".utf8)
        let input = try folder.write(header + frame + frame, to: "a.y4m")
        let info = try VideoReader(path: input).info
        #expect(info.frameRate == Rational(25))
        #expect(info.sampleAspectRatio == .one)
        let options = VideoReader.Options(frameRate: Rational(25))
        #expect((1...2).contains(try VideoReader(path: input, options: options).frames().count))
    }
}
