import Foundation
import SwanSystem
import Testing

@testable import SwanMedia

/// JPEG pictures in memory.
@Suite struct JPEGTests {
    private let frame: VideoFrame

    init() throws {
        let (width, height) = (50, 34)
        frame = VideoFrame(width: width, height: height) { target in
            for y in 0..<height {
                for x in 0..<width {
                    let at = 3 * (y * width + x)
                    (target[at], target[at + 1], target[at + 2]) = (
                        UInt8(5 * x), UInt8(7 * y), UInt8(2 * (x + y))
                    )
                }
            }
        }
    }

    private func decode(_ bytes: [UInt8], maxPixels: Int = 10_000) throws -> VideoFrame {
        try bytes.withUnsafeBytes { bytes in
            Result { () throws(SwanError) in try JPEG.decode(bytes, maxPixels: maxPixels) }
        }.get()
    }

    private func error(_ frame: VideoFrame) -> Double {
        let squares = zip(frame.pixels, self.frame.pixels).map { a, b in
            pow(Double(a) - Double(b), 2)
        }
        return (squares.reduce(0, +) / Double(squares.count)).squareRoot()
    }

    @Test(arguments: [JPEG.Chroma.full, .quarter])
    func picturesSurvive(chroma: JPEG.Chroma) throws {
        let fine = try decode(JPEG.encode(frame, quality: 95, chroma: chroma))
        let coarse = try decode(JPEG.encode(frame, quality: 20, chroma: chroma))
        #expect((fine.width, fine.height) == (50, 34))
        #expect(error(fine) < 4 && error(coarse) > error(fine))
    }

    @Test func qualityOutOfRangeIsClamped() throws {
        #expect(try JPEG.encode(frame, quality: 500) == JPEG.encode(frame, quality: 100))
        #expect(try JPEG.encode(frame, quality: -5) == JPEG.encode(frame, quality: 1))
    }

    /// Other decoders agree: FFmpeg's reads the same picture.
    @Test func otherDecodersAgree() throws {
        let bytes = try JPEG.encode(frame, quality: 95)
        let path = FileManager.default.temporaryDirectory
            .appendingPathComponent("swan-\(UUID().uuidString).jpg")
        try Data(bytes).write(to: path)
        defer { try? FileManager.default.removeItem(at: path) }
        #expect(error(try readImage(path.path)) < 4)
    }

    @Test func damagedPicturesAreRefused() throws {
        let whole = try JPEG.encode(frame, quality: 80)
        for length in [0, 1, 20, whole.count / 2, whole.count - 3] {
            let error = #expect(throws: SwanError.self) { try decode(Array(whole.prefix(length))) }
            #expect(error?.code == .decoder, "\(length) bytes")
        }
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<300 {
            var changed = whole
            for _ in 0..<4 {
                changed[Int.random(in: 0..<changed.count, using: &generator)] = .random(in: 0...255)
            }
            do { _ = try decode(changed, maxPixels: 100_000) } catch {}
        }
    }

    /// A header that promises more than the limit is refused before anything is allocated.
    @Test func largePicturesAreRefused() throws {
        var bytes = try JPEG.encode(frame, quality: 80)
        let size = try #require(
            bytes.indices.dropLast().first { bytes[$0] == 0xFF && bytes[$0 + 1] == 0xC0 }
        )
        for offset in 5..<9 { bytes[size + offset] = 0x70 }
        let error = #expect(throws: SwanError.self) { try decode(bytes) }
        #expect(error?.code == .tooLarge)
    }
}
