import Foundation
import SwanMedia
import Testing
import SwanSystem

@Suite("Writing")
struct WriterTests {
    private func open(_ path: String, _ width: Int = 64, _ height: Int = 48) throws -> VideoWriter {
        let rate = try #require(Rational(25))
        return try VideoWriter(path: path, width: width, height: height, frameRate: rate)
    }

    @Test("the file does not appear before finish()", arguments: ["a.mp4", "a.mkv", "a.y4m"])
    func atomic(name: String) throws {
        let folder = try Folder()
        let writer = try open(folder.file(name))
        for frame in try numbered(8) { try writer.append(frame) }
        let during = try folder.contents()
        #expect(during.count == 1)
        #expect(during.allSatisfy { $0.hasPrefix(".a.swan-partial-") })
        try writer.finish()
        #expect(try folder.contents() == [name])
        #expect(writer.frameCount == 8)
    }

    @Test("cancelling leaves no file and keeps an existing one", arguments: ["a.mp4", "a.y4m"])
    func cancelled(name: String) throws {
        let folder = try Folder()
        _ = try folder.write([1, 2, 3], to: name)
        let writer = try open(folder.file(name))
        for frame in try numbered(8) { try writer.append(frame) }
        writer.cancel()
        #expect(try folder.contents() == [name])
        #expect(try folder.bytes(of: name) == [1, 2, 3])
        #expect(try failure { try writer.finish() }.code == .invalidArgument)
        #expect(try failure { try writer.append(try numbered(1)[0]) }.code == .invalidArgument)
    }

    @Test("a released writer leaves no file")
    func dropped() throws {
        let folder = try Folder()
        do {
            let writer = try open(folder.file("a.mp4"))
            try writer.append(try numbered(1)[0])
        }
        #expect(try folder.contents().isEmpty)
    }

    @Test("without frames no file is written", arguments: ["a.mp4", "a.mkv", "a.y4m"])
    func noFrames(name: String) throws {
        let folder = try Folder()
        let writer = try open(folder.file(name))
        #expect(try failure { try writer.finish() }.code == .empty)
        #expect(try folder.contents().isEmpty)
    }

    @Test("a file can be overwritten while it is read")
    func inPlace() throws {
        let folder = try Folder()
        let path = folder.file("a.mp4")
        try write(try numbered(12), to: path)
        let reader = try VideoReader(path: path)
        let writer = try open(path)
        while let frame = try reader.nextFrame() { try writer.append(frame) }
        try writer.finish()
        #expect(try VideoReader(path: path).frames().count == 12)
        #expect(try folder.contents() == ["a.mp4"])
    }

    @Test("a symbolic link is kept and its target is replaced")
    func links() throws {
        let folder = try Folder()
        let target = try folder.write([1], to: "real.mp4")
        #expect(symlink(target, folder.file("link.mp4")) == 0)
        try write(try numbered(3), to: folder.file("link.mp4"))
        #expect(try VideoReader(path: target).frames().count == 3)
        #expect(try folder.contents() == ["link.mp4", "real.mp4"])
    }

    @Test(
        "a file created in the meantime is not replaced without permission",
        arguments: ["a.mp4", "a.mkv", "a.y4m", "%d.png"]
    )
    func race(name: String) throws {
        let folder = try Folder()
        let options = VideoWriter.Options(replaces: false)
        let writer = try VideoWriter(
            path: folder.file(name),
            width: 64,
            height: 48,
            frameRate: .one,
            options: options
        )
        let made = name.hasSuffix(".png") ? "1.png" : name
        _ = try folder.write([1], to: made)
        let error = try failure {
            try writer.append(try numbered(1)[0])
            try writer.finish()
        }
        #expect(error.code == .exists)
        writer.cancel()
        #expect(try folder.contents() == [made])
        #expect(try folder.bytes(of: made) == [1])
    }

    @Test("two writers with the same path do not conflict")
    func twice() throws {
        let folder = try Folder()
        let first = try open(folder.file("a.y4m"))
        let second = try open(folder.file("a.y4m"))
        try first.append(try numbered(1)[0])
        for frame in try numbered(2) { try second.append(frame) }
        try first.finish()
        try second.finish()
        #expect(try VideoReader(path: folder.file("a.y4m")).frames().count == 2)
    }

    @Test("4:2:0 in MP4 needs an even size, as the error says", arguments: [(63, 48), (64, 47)])
    func oddSizes(width: Int, height: Int) throws {
        let folder = try Folder()
        let error = try failure { _ = try open(folder.file("a.mp4"), width, height) }
        #expect(error.code == .unsupported)
        #expect(error.message.contains("64x48"))
        #expect(try folder.contents().isEmpty)
        for name in ["a.mkv", "a.y4m", "%d.png"] {
            let path = folder.file(name)
            try write([try .noise(width, height, seed: 1)], to: path)
        }
        let frame = try #require(try VideoReader(path: folder.file("a.y4m")).nextFrame())
        #expect(frame.width == width)
        #expect(frame.height == height)
    }

    @Test("absurd sizes", arguments: [(0, 0), (-2, 4), (100_000, 100_000), (Int.max, 2)])
    func absurdSizes(width: Int, height: Int) throws {
        let folder = try Folder()
        for name in ["a.mp4", "a.mkv", "a.y4m", "%d.png"] {
            let error = try failure { _ = try open(folder.file(name), width, height) }
            #expect([.unsupported, .encoder].contains(error.code), "\(name): \(error)")
        }
        #expect(try folder.contents().isEmpty)
    }

    @Test("a frame of another size is refused without ending the video")
    func otherFrame() throws {
        let folder = try Folder()
        let writer = try open(folder.file("a.mp4"))
        let other = try VideoFrame.plain(32, 32, Color(0, 0, 0))
        #expect(try failure { try writer.append(other) }.code == .invalidArgument)
        try writer.append(try numbered(1)[0])
        try writer.finish()
    }

    @Test("the error explains why a file cannot be created")
    func cannotCreate() throws {
        let folder = try Folder()
        let file = try folder.write([1], to: "file")
        #expect(try failure { _ = try open(file + "/a.mp4") }.code == .cannotWrite)
        #expect(mkdir(folder.file("d.mp4"), 0o700) == 0)
        #expect(try failure { _ = try open(folder.file("d.mp4")) }.code == .cannotWrite)
        #expect(try failure { _ = try open("/proc/a.mp4") }.code == .cannotWrite)
        let long = String(repeating: "x", count: 300)
        #expect(
            try failure { try write(try numbered(1), to: folder.file("\(long).mp4")) }.code
                == .cannotWrite
        )
        #expect(try folder.contents() == ["d.mp4", "file"])
    }

    @Test("an unwritable directory", .disabled(if: geteuid() == 0, "root may write anywhere"))
    func unwritable() throws {
        let folder = try Folder()
        #expect(mkdir(folder.file("locked"), 0o500) == 0)
        #expect(try failure { _ = try open(folder.file("locked/a.mp4")) }.code == .cannotWrite)
    }

    @Test("unknown formats", arguments: ["a", "a.xyz", "a.", "dir.mp4/x", ""])
    func unknownKind(name: String) throws {
        let error = try failure { _ = try open(name) }
        #expect(error.code == .unsupported)
        #expect(name.isEmpty || error.message.contains(".mp4"))
    }

    @Test("a full disk")
    func fullDisk() throws {
        let folder = try Folder()
        #expect(symlink("/dev/full", folder.file("a.y4m")) == 0)
        let writer = try open(folder.file("a.y4m"))
        let error = try failure { try writer.append(try numbered(1)[0]) }
        #expect(error.code == .diskFull)
        #expect(error.message.contains("No space left"))
    }

    @Test("a closed pipe is an error, not a signal")
    func brokenPipe() throws {
        let folder = try Folder()
        let path = folder.file("pipe.y4m")
        #expect(mkfifo(path, 0o600) == 0)
        let reader = Glibc.open(path, O_RDONLY | O_NONBLOCK)
        #expect(reader >= 0)
        let writer = try open(path)
        close(reader)
        let error = try failure { try writer.append(try numbered(1)[0]) }
        #expect(error.code == .brokenPipe)
        #expect(try folder.contents() == ["pipe.y4m"])
    }

    @Test("containers that are completed at the end cannot be written to a pipe")
    func movieIntoPipe() throws {
        let folder = try Folder()
        for name in ["pipe.avi", "pipe.apng", "pipe.webp"] {
            #expect(mkfifo(folder.file(name), 0o600) == 0)
            let reader = Glibc.open(folder.file(name), O_RDONLY | O_NONBLOCK)
            defer { close(reader) }
            let error = try failure { _ = try open(folder.file(name)) }
            #expect(error.code == .unsupported && error.message.contains("mkv"), "\(error)")
        }
    }

    @Test("the YUV4MPEG2 header is widely supported")
    func y4mHeader() throws {
        let folder = try Folder()
        try write(try numbered(2), to: folder.file("a.y4m"), rate: Rational(30000, 1001))
        let bytes = try folder.bytes(of: "a.y4m")
        let header = String(decoding: bytes.prefix { $0 != 10 }, as: UTF8.self)
        #expect(header.hasPrefix("YUV4MPEG2 W64 H48 F30000:1001 Ip A1:1 C420jpeg"))
        #expect(bytes.count == header.utf8.count + 1 + 2 * (6 + 64 * 48 * 3 / 2))
    }

    @Test("PNG frames are named by a pattern or a directory")
    func pngFrames() throws {
        let folder = try Folder()
        let frames = try (0..<3).map { try VideoFrame.noise(20, 10, seed: $0) }
        try write(frames, to: folder.file("by/f_%03d.png"))
        try write(frames, to: folder.file("dir/"))
        for (number, frame) in frames.enumerated() {
            #expect(try readImage(folder.file("by/f_00\(number + 1).png")).pixels == frame.pixels)
            let other = try readImage(folder.file("dir/frame_0000\(number + 1).png"))
            #expect(other.pixels == frame.pixels)
        }
        for pattern in ["x.png", "%s.png", "%d_%d.png", "%99999d.png", "%n%d.png", "%5d.png"] {
            #expect(
                try failure { _ = try open(folder.file(pattern)) }.code == .unsupported,
                "\(pattern)"
            )
        }
    }

    @Test("a single image needs no number in its name")
    func singlePicture() throws {
        let folder = try Folder()
        let frame = try VideoFrame.noise(16, 16, seed: 3)
        func open() throws -> VideoWriter {
            try VideoWriter(
                path: folder.file("one.png"),
                width: 16,
                height: 16,
                frameRate: try #require(Rational(25)),
                frames: 1,
            )
        }
        let writer = try open()
        try writer.append(frame)
        try writer.finish()
        #expect(try readImage(folder.file("one.png")).pixels == frame.pixels)
        let other = try open()
        try other.append(try .noise(16, 16, seed: 4))
        #expect(throws: SwanError.self) { try other.append(frame) }
        #expect(try readImage(folder.file("one.png")).pixels == frame.pixels)
        #expect(try folder.contents() == ["one.png"])
    }
}
