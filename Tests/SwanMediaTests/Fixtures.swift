import Foundation
import SwanMedia
import SwanSystem
import Testing

/// A temporary directory, removed at the end of the test.
final class Folder {
    let path: String

    init() throws {
        let name = "swan-media-\(UUID().uuidString)"
        path = FileManager.default.temporaryDirectory.appendingPathComponent(name).path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        do {
            try FileManager.default.removeItem(atPath: path)
        } catch {
            Issue.record("the test's directory cannot be removed: \(error)")
        }
    }

    func file(_ name: String) -> String { path + "/" + name }

    func write(_ bytes: [UInt8], to name: String) throws -> String {
        try Data(bytes).write(to: URL(fileURLWithPath: file(name)))
        return file(name)
    }

    func bytes(of name: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(fileURLWithPath: file(name))))
    }

    /// All names in it, including hidden files.
    func contents() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path).sorted()
    }
}

/// An RGB color.
struct Color: Equatable {
    var red: Int
    var green: Int
    var blue: Int

    init(_ red: Int, _ green: Int, _ blue: Int) {
        self.red = red
        self.green = green
        self.blue = blue
    }

    /// The largest difference in any channel.
    func distance(to other: Color) -> Int {
        max(abs(red - other.red), abs(green - other.green), abs(blue - other.blue))
    }
}

extension VideoFrame {
    /// An image computed from a function of the position.
    static func drawn(
        _ width: Int,
        _ height: Int,
        _ color: (_ x: Int, _ y: Int) -> Color,
    ) throws(SwanError) -> VideoFrame {
        var pixels: [UInt8] = []
        pixels.reserveCapacity(3 * width * height)
        for y in 0..<height {
            for x in 0..<width {
                let value = color(x, y)
                pixels.append(UInt8(value.red))
                pixels.append(UInt8(value.green))
                pixels.append(UInt8(value.blue))
            }
        }
        return try VideoFrame(width: width, height: height, pixels: pixels)
    }

    static func plain(_ width: Int, _ height: Int, _ color: Color) throws(SwanError)
        -> VideoFrame
    {
        try drawn(width, height) { _, _ in color }
    }

    /// Noise that differs in every pixel and in every frame.
    static func noise(_ width: Int, _ height: Int, seed: Int) throws(SwanError) -> VideoFrame {
        var state = UInt32(truncatingIfNeeded: seed &* 2_654_435_761 &+ 12345)
        return try drawn(width, height) { _, _ in
            state = state &* 1_664_525 &+ 1_013_904_223
            return Color(Int(state >> 8 & 255), Int(state >> 16 & 255), Int(state >> 24))
        }
    }

    subscript(x: Int, y: Int) -> Color {
        let at = 3 * (y * width + x)
        return Color(Int(pixels[at]), Int(pixels[at + 1]), Int(pixels[at + 2]))
    }
}

extension VideoReader {
    /// All remaining frames.
    func frames() throws(SwanError) -> [VideoFrame] {
        var frames: [VideoFrame] = []
        while let frame = try nextFrame() { frames.append(frame) }
        return frames
    }
}

/// Writes frames to a file.
func write(
    _ frames: [VideoFrame],
    to path: String,
    rate: Rational? = Rational(25),
    options: VideoWriter.Options = VideoWriter.Options(),
) throws {
    let first = try #require(frames.first)
    let writer = try VideoWriter(
        path: path,
        width: first.width,
        height: first.height,
        frameRate: try #require(rate),
        options: options,
    )
    for frame in frames { try writer.append(frame) }
    try writer.finish()
}

/// Frames whose brightness encodes their number.
func numbered(_ count: Int, width: Int = 64, height: Int = 48) throws -> [VideoFrame] {
    try (0..<count).map { number in
        try .plain(width, height, Color(40 + number * 4 % 180, 90, 200 - number * 4 % 180))
    }
}

/// The error that `body` throws; fails the test if it does not throw.
func failure(_ body: () throws -> Void) throws -> SwanError {
    var caught: SwanError?
    do {
        try body()
    } catch let error as SwanError {
        caught = error
    }
    return try #require(caught, "no error was thrown")
}
