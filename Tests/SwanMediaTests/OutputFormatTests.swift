import Foundation
import SwanSystem
import Testing

@testable import SwanMedia

@Suite("Kinds of outputs")
struct OutputFormatTests {
    /// Ten frames of a bar that moves over a gradient.
    private func bars(_ count: Int = 10) throws -> [VideoFrame] {
        try (0..<count).map { number in
            try .drawn(64, 48) { x, y in
                abs(x - 6 * number) < 4 ? Color(250, 240, 20) : Color(4 * x, 5 * y, 120)
            }
        }
    }

    private func worst(_ one: [VideoFrame], _ other: [VideoFrame]) -> Double {
        zip(one, other).map { first, second in
            let sum = zip(first.pixels, second.pixels).reduce(0) { $0 + abs(Int($1.0) - Int($1.1)) }
            return Double(sum) / Double(first.pixels.count)
        }.max() ?? .infinity
    }

    /// The mean difference of a channel; most outputs have a quarter of the chroma.
    @Test(
        "containers by their ending, read again",
        arguments: [
            ("a.mp4", "h264", 6.0), ("a.mov", "h264", 6), ("a.ts", "h264", 6), ("a.mkv", "ffv1", 0),
            ("a.webm", "vp9", 6), ("a.avi", "mpeg4", 12), ("a.gif", "gif", 6),
            ("a.apng", "apng", 0),
            ("a.webp", "webp", 8), ("a.y4m", "rawvideo", 6),
        ]
    )
    func containers(name: String, codec: String, tolerance: Double) throws {
        let folder = try Folder()
        let frames = try bars()
        try write(frames, to: folder.file(name))
        #expect(try folder.contents() == [name])
        let reader = try VideoReader(path: folder.file(name))
        #expect(reader.info.codec == codec)
        #expect(abs(reader.info.frameRate.value - 25) < 0.01, "\(reader.info)")
        let found = try reader.frames()
        #expect(found.count == 10)
        #expect(worst(frames, found) <= tolerance, "\(worst(frames, found))")
        #expect(abs((found.last?.seconds ?? 0) - 0.36) < 0.002)
    }

    @Test(
        "a format's name decides if the path says nothing",
        arguments: ["mkv", "webm", "gif", "MP4"]
    )
    func named(format: String) throws {
        let folder = try Folder()
        try write(try bars(3), to: folder.file("out"), options: .init(format: format))
        #expect(try folder.contents() == ["out"])
        #expect(try VideoReader(path: folder.file("out")).frames().count == 3)
        let error = try failure {
            try write(try bars(1), to: folder.file("x.mp4"), options: .init(format: "mpeg7"))
        }
        #expect(error.code == .unsupported && error.message.contains("webm"))
    }

    @Test(
        "frames keep their times where a container has them",
        arguments: ["a.gif", "a.webp", "a.webm"]
    )
    func times(name: String) throws {
        let folder = try Folder()
        let writer = try VideoWriter(
            path: folder.file(name),
            width: 64,
            height: 48,
            frameRate: try #require(Rational(10)),
            options: .init(varies: true)
        )
        let times = [0, 0.1, 0.5, 0.6, 1.6]
        for (frame, time) in zip(try bars(5), times) { try writer.append(frame, at: time) }
        try writer.finish()
        let found = try VideoReader(path: folder.file(name)).frames().map(\.seconds)
        #expect(
            found.count == 5 && zip(found, times).allSatisfy { abs($0 - $1) < 0.006 },
            "\(found)"
        )
    }

    @Test("a GIF that would be too fast for players lacks frames, and says how many")
    func fastGIF() throws {
        let folder = try Folder()
        let writer = try VideoWriter(
            path: folder.file("a.gif"),
            width: 64,
            height: 48,
            frameRate: try #require(Rational(100))
        )
        for frame in try bars(20) { try writer.append(frame) }
        try writer.finish()
        let found = try VideoReader(path: folder.file("a.gif")).frames()
        #expect(found.count + writer.skippedFrames == 20)
        #expect((9...11).contains(found.count))
        for (one, other) in zip(found, found.dropFirst()) {
            #expect(other.seconds - one.seconds > 0.019)
        }
    }

    @Test("pictures in each format, as a sequence and alone", arguments: ["png", "jpg", "webp"])
    func pictures(ending: String) throws {
        let folder = try Folder()
        let frames = try bars(3)
        try write(frames, to: folder.file("new/deep/%03d.\(ending)"))
        try write(frames, to: folder.file("dir/"), options: .init(format: ending))
        for (number, frame) in frames.enumerated() {
            for name in ["new/deep/00\(number + 1)", "dir/frame_0000\(number + 1)"] {
                let read = try readImage(folder.file("\(name).\(ending)"))
                #expect(worst([frame], [read]) <= (ending == "png" ? 0 : 4))
            }
        }
        let rate = try #require(Rational(25))
        let single = try VideoWriter(
            path: folder.file("one.\(ending)"),
            width: 64,
            height: 48,
            frameRate: rate,
            frames: 1
        )
        try single.append(frames[2])
        try single.finish()
        #expect(worst([frames[2]], [try readImage(folder.file("one.\(ending)"))]) <= 4)
    }

    @Test("nothing is written to the null format, but frames are counted")
    func nothing() throws {
        let folder = try Folder()
        try write(try bars(2), to: "/dev/null")
        try write(try bars(2), to: folder.file("x"), options: .init(format: "null"))
        try write(try bars(2), to: "/dev/null", options: .init(format: "mkv"))
        #expect(try folder.contents().isEmpty)
    }

    @Test("a pipe gets containers that need no way back", arguments: ["mp4", "mkv", "webm", "gif"])
    func pipes(format: String) throws {
        let folder = try Folder()
        let (path, copy) = (folder.file("pipe"), folder.file("copy"))
        #expect(mkfifo(path, 0o600) == 0)
        let reader = Process()
        reader.executableURL = URL(fileURLWithPath: "/bin/sh")
        reader.arguments = ["-c", "cat \"$0\" > \"$1\"", path, copy]
        try reader.run()
        try write(try bars(), to: path, options: .init(format: format))
        reader.waitUntilExit()
        #expect(try VideoReader(path: copy).frames().count == 10)
    }

    @Test("missing folders are made, and removed again if nothing comes of it")
    func folders() throws {
        let folder = try Folder()
        try write(try bars(1), to: folder.file("a/b/c.mp4"))
        #expect(try VideoReader(path: folder.file("a/b/c.mp4")).frames().count == 1)
        let rate = try #require(Rational(25))
        let writer = try VideoWriter(
            path: folder.file("x/y/c.mp4"),
            width: 64,
            height: 48,
            frameRate: rate
        )
        #expect(try folder.contents() == ["a", "x"])
        writer.cancel()
        #expect(try folder.contents() == ["a"])
        #expect(throws: SwanError.self) { try write(try bars(1), to: folder.file("z/y/%s.png")) }
        #expect(try failure { try write(try bars(1), to: "/proc/z/c.mp4") }.code == .cannotWrite)
        #expect(try folder.contents() == ["a"])
    }

    @Test("long GIFs get a new palette for each window of frames, in the right order")
    func windows() throws {
        let folder = try Folder()
        let frames = try (0..<600).map { number in
            try VideoFrame.plain(16, 16, Color(number % 256, number / 3, 255 - number % 256))
        }
        try write(frames, to: folder.file("a.gif"))
        let found = try VideoReader(path: folder.file("a.gif")).frames()
        #expect(found.count == 600)
        #expect(worst(frames, found) < 6)
    }
}
