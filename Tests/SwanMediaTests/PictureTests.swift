import Foundation
import SwanMedia
import Testing
import SwanSystem

/// Image files with Pillow's results (Goldens/pictures.py).
private struct PictureGoldens: Decodable {
    let pictures: [String: Picture]
    let refused: [String: Refused]
    let resizes: [Resize]

    struct Picture: Decodable {
        let file: Data
        let width: Int
        let height: Int
        let rgb: Data
        let tolerance: Int
    }

    struct Refused: Decodable {
        let file: Data
        let code: String?
    }

    struct Resize: Decodable {
        let from: [Int]
        let to: [Int]
        let seed: Int
        let resized: Data?
        let resized_crc32: UInt32
        let filled: Data?
        let filled_crc32: UInt32
    }

    static func load() throws -> PictureGoldens {
        let folder = URL(filePath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let file = folder.appending(path: "Goldens/pictures.json")
        return try JSONDecoder().decode(PictureGoldens.self, from: Data(contentsOf: file))
    }
}

private func crc32(_ bytes: [UInt8]) -> UInt32 {
    ~bytes.reduce(~0) { sum, byte in
        (0..<8).reduce(sum ^ UInt32(byte)) { sum, _ in
            sum >> 1 ^ (sum & 1 == 1 ? 0xEDB8_8320 : 0)
        }
    }
}

@Suite("Pictures")
struct PictureTests {
    private let goldens: PictureGoldens

    init() throws { goldens = try PictureGoldens.load() }

    @Test("every image format decodes to Pillow's upright RGB")
    func kinds() throws {
        let folder = try Folder()
        #expect(goldens.pictures.count >= 50)
        for (name, picture) in goldens.pictures.sorted(by: { $0.key < $1.key }) {
            // The content determines the format, not the name.
            let path = try folder.write([UInt8](picture.file), to: "picture")
            let frame = try readImage(path)
            #expect(frame.width == picture.width && frame.height == picture.height, "\(name)")
            try #require(frame.pixels.count == picture.rgb.count, "\(name)")
            let worst = zip(frame.pixels, picture.rgb).map { abs(Int($0) - Int($1)) }.max()
            #expect(try #require(worst) <= picture.tolerance, "\(name)")
        }
    }

    @Test("images that are too large or truncated are refused")
    func refused() throws {
        let folder = try Folder()
        for (name, file) in goldens.refused.sorted(by: { $0.key < $1.key }) {
            let path = try folder.write([UInt8](file.file), to: name)
            let error = try failure { _ = try readImage(path) }
            #expect(error.message.contains(path))
            if file.code == "tooLarge" {
                #expect(error.code == .tooLarge, "\(name): \(error)")
                #expect(error.message.contains("64000000"), "\(name): \(error)")
            } else {
                #expect([.decoder, .notAVideo, .empty].contains(error.code), "\(name): \(error)")
            }
        }
    }

    @Test("files that are not images are refused")
    func notImages() throws {
        let folder = try Folder()
        let text = try folder.write(Array("no picture at all, only text\n".utf8), to: "a.png")
        let error = try failure { _ = try readImage(text) }
        #expect(error.code == .notAVideo)
        #expect(error.message.contains("PNG, JPEG"))
        #expect(try failure { _ = try readImage(folder.file("none.png")) }.code == .noSuchFile)
        #expect(try failure { _ = try readImage(folder.path) }.code == .isDirectory)
        let empty = try folder.write([], to: "empty.png")
        #expect(try failure { _ = try readImage(empty) }.code == .empty)
    }

    @Test("the pixel limit is configurable")
    func limit() throws {
        let folder = try Folder()
        try writePNG(try .noise(64, 20, seed: 4), folder.file("a.png"))
        #expect(try readImage(folder.file("a.png"), maxPixels: 1280).width == 64)
        let error = try failure { _ = try readImage(folder.file("a.png"), maxPixels: 1279) }
        #expect(error.code == .tooLarge)
    }

    @Test("the first frame of a video can be read as an image")
    func video() throws {
        let folder = try Folder()
        try write(try numbered(3), to: folder.file("a.mkv"))
        let first = try VideoReader(path: folder.file("a.mkv")).nextFrame()
        let frame = try readImage(folder.file("a.mkv"))
        #expect(frame.width == first?.width)
        #expect(frame[5, 5].distance(to: Color(40, 90, 200)) <= 8)
    }

    @Test("Lanczos resizing matches Pillow's bit for bit")
    func lanczos() throws {
        for golden in goldens.resizes {
            let source = try VideoFrame.noise(golden.from[0], golden.from[1], seed: golden.seed)
            let (width, height) = (golden.to[0], golden.to[1])
            let resized = try source.resized(width: width, height: height)
            let filled = try source.covering(width: width, height: height)
            let what: Comment = "\(golden.from) to \(golden.to)"
            #expect(resized.width == width && resized.height == height, what)
            #expect(filled.width == width && filled.height == height, what)
            if let pixels = golden.resized { #expect(resized.pixels == [UInt8](pixels), what) }
            if let pixels = golden.filled { #expect(filled.pixels == [UInt8](pixels), what) }
            #expect(crc32(resized.pixels) == golden.resized_crc32, what)
            #expect(crc32(filled.pixels) == golden.filled_crc32, what)
        }
    }

    @Test("invalid sizes and crops are refused")
    func wrongSizes() throws {
        let frame = try VideoFrame.noise(6, 5, seed: 1)
        for (width, height) in [(0, 4), (4, -1), (70_000, 2)] {
            let error = try failure { _ = try frame.resized(width: width, height: height) }
            #expect(error.code == .invalidArgument)
        }
        for (left, top, width, height) in [(-1, 0, 2, 2), (5, 0, 2, 2), (0, 0, 6, 6), (0, 0, 0, 1)]
        {
            let error = try failure {
                _ = try frame.cropped(left: left, top: top, width: width, height: height)
            }
            #expect(error.code == .invalidArgument)
        }
        let part = try frame.cropped(left: 2, top: 1, width: 3, height: 4)
        #expect(part[0, 0] == frame[2, 1])
        #expect(part[2, 3] == frame[4, 4])
    }
}
