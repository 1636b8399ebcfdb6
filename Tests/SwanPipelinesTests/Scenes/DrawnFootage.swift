import Foundation
import SwanMedia
import SwanSystem

/// Drawn scenes for tests of cuts and of still inputs.
struct DrawnFootage {
    var width = 64
    var height = 64

    /// A smooth texture of its own for each scene, moved by pixels.
    func texture(_ scene: Int, right: Double = 0, scale: Double = 1) throws -> VideoFrame {
        let phase = 1.7 * Double(scene)
        return try picture { x, y, color in
            let (u, v) = (scale * (x + right), scale * y)
            let a = sin(0.11 * u + 0.07 * Double(scene % 3) * v + phase + Double(color))
            let b = cos(0.16 * v - 0.05 * u * Double(scene % 2) + 2.3 * phase)
            let c = sin(0.29 * (u + v) + 0.5 * phase * Double(color + 1))
            return 128 + 50 * a + 45 * b + 25 * c
        }
    }

    /// One color.
    func plain(_ level: Double) throws -> VideoFrame { try picture { _, _, _ in level } }

    /// A picture with edges, letters' strokes and a gradient.
    func stillLife() throws -> VideoFrame {
        try picture { x, y, color in
            let (u, v) = (x / Double(width), y / Double(height))
            if abs(u - 0.3) < 0.12, abs(v - 0.35) < 0.2 { return [200, 60, 40][color] }
            if (u - 0.7) * (u - 0.7) + (v - 0.6) * (v - 0.6) < 0.03 { return [40, 90, 200][color] }
            if Int(x) % 9 == 0, v > 0.8 { return 20 }
            return 90 + 120 * u + [20, 0, -30][color] * v
        }
    }

    /// A disk that moves over another picture.
    func ball(at place: Double, over background: VideoFrame) throws -> VideoFrame {
        try picture { x, y, color in
            let (dx, dy) = (x - place, y - Double(height) / 2)
            let index = 3 * (Int(y) * width + Int(x)) + color
            return dx * dx + dy * dy < 80
                ? [250, 220, 40][color] : Double(background.pixels[index])
        }
    }

    /// Independent random levels.
    func noise(_ index: Int) throws -> VideoFrame {
        var state = UInt64(index + 1) &* 0x9E37_79B9_7F4A_7C15
        let pixels = (0..<3 * width * height).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 56)
        }
        return try VideoFrame(width: width, height: height, pixels: pixels)
    }

    /// A weighted sum of two frames, brightened.
    func mixed(
        _ a: VideoFrame,
        _ b: VideoFrame,
        _ share: Double,
        gain: Double = 1,
        offset: Double = 0
    ) throws -> VideoFrame {
        let pixels = zip(a.pixels, b.pixels).map { a, b in
            level(gain * ((1 - share) * Double(a) + share * Double(b)) + offset)
        }
        return try VideoFrame(width: width, height: height, pixels: pixels)
    }

    private func picture(
        _ value: (_ x: Double, _ y: Double, _ color: Int) -> Double
    ) throws -> VideoFrame {
        var pixels: [UInt8] = []
        pixels.reserveCapacity(3 * width * height)
        for y in 0..<height {
            for x in 0..<width {
                for color in 0..<3 { pixels.append(level(value(Double(x), Double(y), color))) }
            }
        }
        return try VideoFrame(width: width, height: height, pixels: pixels)
    }

    private func level(_ value: Double) -> UInt8 { UInt8(min(max(value.rounded(), 0), 255)) }
}

/// The mean absolute difference of two frames, in levels.
func meanDifference(_ a: VideoFrame, _ b: VideoFrame) -> Double {
    let sum = zip(a.pixels, b.pixels).reduce(0) { $0 + abs(Int($1.0) - Int($1.1)) }
    return Double(sum) / Double(a.pixels.count)
}
