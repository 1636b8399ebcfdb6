import Foundation
import SwanSystem
import Testing

@testable import SwanMedia

@Suite("Pictures as a video")
struct PictureSequenceTests {
    private let folder: Folder

    init() throws {
        folder = try Folder()
    }

    private func picture(_ name: String, _ color: Color, _ width: Int = 32, _ height: Int = 16)
        throws
    {
        try writePNG(.plain(width, height, color), folder.file(name))
    }

    private func reds(_ name: String, _ options: VideoReader.Options = .init()) throws -> [Int] {
        try VideoReader(path: folder.file(name), options: options).frames().map { $0[1, 1].red }
    }

    @Test("a pattern, a glob and a folder are the pictures in the order of their numbers")
    func names() throws {
        for number in [0, 1, 2, 9, 10, 11] { try picture("f\(number).png", Color(number, 0, 0)) }
        try picture("other.png", Color(99, 0, 0))
        _ = try folder.write(Array("text".utf8), to: "notes.txt")
        _ = try folder.write([1], to: ".hidden.png")
        #expect(try reds("f%d.png") == [0, 1, 2, 9, 10, 11])
        #expect(try reds("f*.png") == [0, 1, 2, 9, 10, 11])
        #expect(try reds("f[0-2].png") == [0, 1, 2])
        #expect(try reds("") == [0, 1, 2, 9, 10, 11, 99])
        let reader = try VideoReader(path: folder.file("f%d.png"))
        #expect(reader.info.estimatedFrames == 6 && reader.info.frameRate == Rational(25))
        #expect(
            reader.problems == ["number 3 and 5 others missing; the next picture follows directly"]
        )
    }

    @Test("a rate is that of the pictures, not one to resample to")
    func rate() throws {
        for number in 1...4 { try picture("0\(number).png", Color(number, 0, 0)) }
        let options = VideoReader.Options(frameRate: Rational(10))
        let reader = try VideoReader(path: folder.file("%02d.png"), options: options)
        #expect(reader.info.frameRate.value == 10 && reader.info.estimatedFrames == 4)
        let frames = try reader.frames()
        #expect(frames.map { $0[0, 0].red } == [1, 2, 3, 4])
        #expect(zip(frames, [0, 0.1, 0.2, 0.3]).allSatisfy { abs($0.seconds - $1) < 1e-9 })
        #expect(reader.unevenSeconds == nil)
    }

    @Test("a file whose name looks like a pattern is that file")
    func literal() throws {
        try picture("[b] 100% %d*.png", Color(7, 0, 0))
        try picture("b.png", Color(9, 0, 0))
        #expect(try reds("[b] 100% %d*.png") == [7])
    }

    @Test("patterns and folders without pictures say so")
    func nothing() throws {
        for name in ["%05d.png", "*.png", "x%dy*.jpg"] {
            let error = try failure { _ = try VideoReader(path: folder.file(name)) }
            #expect(error.code == .noSuchFile && error.message.contains("pattern"), "\(error)")
        }
        let empty = try failure { _ = try VideoReader(path: folder.path) }
        #expect(empty.code == .isDirectory && empty.message.contains("without pictures"))
    }

    @Test("broken pictures are left out, and all broken ones are an error")
    func broken() throws {
        for number in 1...5 { try picture("\(number).png", Color(number, 0, 0)) }
        _ = try folder.write([], to: "1.png")
        let half = try folder.bytes(of: "3.png")
        _ = try folder.write([UInt8](half.prefix(half.count / 2)), to: "3.png")
        let reader = try VideoReader(path: folder.file("%d.png"))
        #expect(try reader.frames().map { $0[0, 0].red } == [2, 4, 5])
        #expect(
            reader.problems.count == 2 && reader.problems.allSatisfy { $0.contains("left out") }
        )
        for number in 1...5 { _ = try folder.write([1, 2], to: "\(number).png") }
        #expect(try failure { _ = try VideoReader(path: folder.file("%d.png")) }.code == .notAVideo)
    }

    @Test("pictures of other sizes are fitted to the first")
    func sizes() throws {
        try picture("1.png", Color(200, 0, 0))
        try picture("2.png", Color(0, 200, 0), 64, 32)
        try picture("3.png", Color(0, 0, 200), 16, 32)
        func frames(_ fit: VideoReader.Fit) throws -> [VideoFrame] {
            let reader = try VideoReader(path: folder.file("*.png"), options: .init(fit: fit))
            let frames = try reader.frames()
            #expect(reader.changesSize && frames.allSatisfy { $0.width == 32 && $0.height == 16 })
            return frames
        }
        for fit in [VideoReader.Fit.crop, .stretch] {
            let found = try frames(fit)
            #expect(found[1][0, 0] == Color(0, 200, 0) && found[2][0, 0] == Color(0, 0, 200))
        }
        let padded = try frames(.pad)
        #expect(padded[1][0, 0] == Color(0, 200, 0))
        #expect(padded[2][0, 8] == Color(0, 0, 0) && padded[2][16, 8] == Color(0, 0, 200))
    }

    @Test("a joined recording of two shapes is fitted to the first as well")
    func joined() throws {
        try write(try [.plain(64, 48, Color(250, 0, 0))], to: folder.file("1.ts"))
        try write(try [.plain(48, 64, Color(0, 0, 250))], to: folder.file("2.ts"))
        let bytes = try folder.bytes(of: "1.ts") + folder.bytes(of: "2.ts")
        let path = try folder.write(bytes, to: "3.ts")
        for (fit, corner) in [(VideoReader.Fit.crop, 250), (.stretch, 250), (.pad, 0)] {
            let reader = try VideoReader(path: path, options: .init(fit: fit))
            let frames = try reader.frames()
            let last = try #require(frames.last)
            #expect(frames.count == 2 && reader.changesSize)
            #expect(frames[0][0, 0].distance(to: Color(250, 0, 0)) < 6)
            #expect(last[32, 24].distance(to: Color(0, 0, 250)) < 6)
            #expect(last[0, 24].distance(to: Color(0, 0, corner)) < 6, "\(fit)")
        }
    }

    @Test("kinds of pictures in one folder, with transparent parts in black and turned upright")
    func kinds() throws {
        let frame = try VideoFrame.plain(32, 16, Color(200, 100, 50))
        for (number, ending) in ["png", "jpg", "webp"].enumerated() {
            let rate = try #require(Rational(25))
            let path = folder.file("\(number).\(ending)")
            let writer = try VideoWriter(
                path: path,
                width: 32,
                height: 16,
                frameRate: rate,
                frames: 1
            )
            try writer.append(frame)
            try writer.finish()
        }
        let ppm = Array("P6\n32 16\n255\n".utf8) + frame.pixels
        _ = try folder.write(ppm, to: "3.ppm")
        let found = try VideoReader(path: folder.path).frames()
        #expect(found.count == 4)
        for frame in found { #expect(frame[16, 8].distance(to: Color(200, 100, 50)) < 4) }
    }

    @Test("a numbered picture knows the others")
    func siblings() throws {
        for number in [1, 2, 3] { try picture("take2_0\(number).png", Color(number, 0, 0)) }
        try picture("alone.png", Color(1, 0, 0))
        let found = PictureSequence.siblings(of: folder.file("take2_02.png"))
        #expect(found?.count == 3 && found?.pattern == folder.file("take2_%02d.png"))
        #expect(PictureSequence.siblings(of: folder.file("alone.png")) == nil)
    }

    @Test("outputs among the pictures of the input are refused")
    func outputs() throws {
        for number in 1...3 { try picture("\(number).png", Color(number, 0, 0)) }
        for input in ["%d.png", "*.png", ""] {
            var files = JobFiles()
            files.inputs = [folder.file(input)]
            files.outputs = [.video(folder.file("%d.png"))]
            #expect(try failure { try files.check() }.code == .isInput, "\(input)")
            files.outputs = [.video(folder.file("new_%d.png"))]
            try files.check()
        }
    }
}

@Suite("Animated WebP")
struct WebPAnimationTests {
    private func little(_ value: Int, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }

    private func chunk(_ name: String, _ data: [UInt8]) -> [UInt8] {
        Array(name.utf8) + little(data.count, 4) + data + (data.count % 2 == 0 ? [] : [0])
    }

    /// The picture chunk of a still WebP file of one color.
    private func picture(_ folder: Folder, _ color: Color, _ side: Int) throws -> [UInt8] {
        let rate = try #require(Rational(25))
        let path = folder.file("still.webp")
        let writer = try VideoWriter(
            path: path,
            width: side,
            height: side,
            frameRate: rate,
            frames: 1
        )
        try writer.append(.plain(side, side, color))
        try writer.finish()
        let bytes = try folder.bytes(of: "still.webp")
        let start = try #require((12..<64).first { bytes[$0...].starts(with: Array("VP8 ".utf8)) })
        return [UInt8](bytes[start...])
    }

    private func frame(x: Int, y: Int, side: Int, milliseconds: Int, flags: UInt8, _ data: [UInt8])
        -> [UInt8]
    {
        chunk(
            "ANMF",
            little(x / 2, 3) + little(y / 2, 3) + little(side - 1, 3) + little(side - 1, 3)
                + little(milliseconds, 3) + [flags] + data
        )
    }

    @Test("frames that cover a part of the canvas, with durations and disposal")
    func parts() throws {
        let folder = try Folder()
        let header = chunk("VP8X", [0x12, 0, 0, 0] + little(31, 3) + little(31, 3))
        let red = try picture(folder, Color(220, 20, 20), 32)
        let blue = try picture(folder, Color(20, 20, 220), 16)
        // The second covers a quarter and is cleared; the third covers another quarter.
        let body =
            header + chunk("ANIM", [0, 0, 0, 0, 0, 0])
            + frame(x: 0, y: 0, side: 32, milliseconds: 100, flags: 0, red)
            + frame(x: 16, y: 0, side: 16, milliseconds: 300, flags: 1, blue)
            + frame(x: 0, y: 16, side: 16, milliseconds: 100, flags: 0, blue)
        let file = chunk("RIFF", Array("WEBP".utf8) + body)
        let path = try folder.write(file, to: "a.webp")
        let reader = try VideoReader(path: path)
        #expect(reader.info.width == 32 && reader.info.estimatedFrames == 3 && reader.info.varies)
        let frames = try reader.frames()
        #expect(zip(frames.map(\.seconds), [0, 0.1, 0.4]).allSatisfy { abs($0 - $1) < 1e-9 })
        #expect(frames[0][24, 8].distance(to: Color(220, 20, 20)) < 16)
        #expect(frames[1][24, 8].distance(to: Color(20, 20, 220)) < 16)
        #expect(frames[1][8, 24].distance(to: Color(220, 20, 20)) < 16)
        #expect(frames[2][24, 8] == Color(0, 0, 0))
        #expect(frames[2][8, 24].distance(to: Color(20, 20, 220)) < 16)
        #expect(reader.treatment.isBlended)
        // What a download that was cut off still holds.
        let cut = try folder.write([UInt8](file.dropLast(20)), to: "cut.webp")
        #expect(try VideoReader(path: cut).frames().count == 2)
    }

    @Test("damaged headers are errors")
    func damage() throws {
        let folder = try Folder()
        let header = chunk("VP8X", [0x12, 0, 0, 0] + little(31, 3) + little(31, 3))
        let empty = chunk("RIFF", Array("WEBP".utf8) + header)
        let none = try failure { _ = try VideoReader(path: folder.write(empty, to: "a.webp")) }
        #expect(none.code == .empty)
        let huge = chunk("VP8X", [0x12, 0, 0, 0] + little(0xFF_FFFF, 3) + little(0xFF_FFFF, 3))
        let large = chunk("RIFF", Array("WEBP".utf8) + huge)
        let error = try failure { _ = try VideoReader(path: folder.write(large, to: "b.webp")) }
        #expect(error.code == .tooLarge)
    }
}
