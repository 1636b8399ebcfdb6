import Foundation
import SwanMedia
import Testing
import SwanSystem

@Suite("Refusing invalid input")
struct RefusalTests {
    private func refusal(_ path: String) throws -> SwanError {
        let error = try failure { _ = try VideoReader(path: path) }
        #expect(error.message.contains(path))
        return error
    }

    @Test("missing files, directories and empty files")
    func nothing() throws {
        let folder = try Folder()
        #expect(try refusal(folder.file("none.mp4")).code == .noSuchFile)
        #expect(try refusal(folder.file("none.mp4/x.mp4")).code == .noSuchFile)
        #expect(try refusal(folder.path).code == .isDirectory)
        #expect(try refusal(try folder.write([], to: "empty.mp4")).code == .empty)
    }

    @Test("text, programs and noise named like a video")
    func notVideos() throws {
        let folder = try Folder()
        let lines = (0..<3000).map { "line \($0) of plain text\n" }.joined()
        var state: UInt32 = 1
        let noise = (0..<100_000).map { _ -> UInt8 in
            state = state &* 1_664_525 &+ 1_013_904_223
            return UInt8(state >> 24)
        }
        let files: [(String, [UInt8])] = [
            ("short.mp4", Array("hello".utf8)), ("long.mp4", Array(lines.utf8)),
            ("one.mp4", [0]), ("zeros.mp4", [UInt8](repeating: 0, count: 5000)),
            ("json.mp4", Array("{\"a\": 1}".utf8)), ("noise.mp4", noise),
        ]
        for (name, bytes) in files {
            #expect(try refusal(try folder.write(bytes, to: name)).code == .notAVideo, "\(name)")
        }
    }

    @Test("playlists and scripts do not open the files they name")
    func scripts() throws {
        let folder = try Folder()
        try write(try numbered(10), to: folder.file("secret.mp4"))
        let secret = folder.file("secret.mp4")
        let playlist = """
            #EXTM3U
            #EXT-X-TARGETDURATION:10
            #EXTINF:5,
            \(secret)
            #EXT-X-ENDLIST

            """
        let manifest = """
            <?xml version="1.0"?>
            <MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" profiles="urn:mpeg:dash:profile"></MPD>
            """
        let scripts = [
            "playlist.mp4": playlist,
            "concat.mp4": "ffconcat version 1.0\nfile secret.mp4\n",
            "absolute.mp4": "ffconcat version 1.0\nfile '\(secret)'\n",
            "dash.mp4": manifest,
        ]
        for (name, text) in scripts {
            let error = try refusal(try folder.write(Array(text.utf8), to: name))
            #expect(error.code == .forbiddenFormat, "\(name): \(error)")
        }
    }

    @Test("audio without video")
    func sound() throws {
        let folder = try Folder()
        let path = try folder.write(Handmade.wav(samples: 8000), to: "a.mp4")
        #expect(try refusal(path).code == .noVideoStream)
    }

    @Test("an MP4 without its index")
    func noIndex() throws {
        let folder = try Folder()
        try write(try numbered(10), to: folder.file("a.mp4"))
        let bytes = try folder.bytes(of: "a.mp4")
        let error = try refusal(try folder.write([UInt8](bytes.prefix(40)), to: "b.mp4"))
        #expect(error.code == .notAVideo)
        #expect(error.message.contains("not a complete video file"))
    }

    @Test("a video without frames")
    func noFrames() throws {
        let folder = try Folder()
        let header = Array("YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420jpeg\n".utf8)
        #expect(try refusal(try folder.write(header, to: "a.y4m")).code == .empty)
    }

    @Test("an MP4 that refers to another file for its frames")
    func externalReference() throws {
        let folder = try Folder()
        try write(try numbered(10), to: folder.file("a.mov"))
        var bytes = try folder.bytes(of: "a.mov")
        // Clearing the flag "in this file" (1) of the data reference 'url ' makes it external.
        let tag = Array("dref".utf8)
        let at = try #require(bytes.indices.first { bytes[$0...].starts(with: tag) })
        // dref: version, count; entry: size, type, flags.
        let flags = at + 4 + 8 + 8
        #expect(bytes[flags + 3] == 1)
        bytes[flags + 3] = 0
        let reader = try VideoReader(path: try folder.write(bytes, to: "b.mov"))
        // Whether the demuxer ignores the reference or refuses it, it opens no other file.
        #expect(try reader.frames().count == 10)
    }
}
