import Foundation
public import SwanSystem

extension VideoFrame {
    /// The frame resized bit for bit as by Pillow's `resize((width, height), LANCZOS)`.
    ///
    /// Antialiased, first along one axis and then along the other, with 8-bit values in between.
    public func resized(width: Int, height: Int) throws(SwanError) -> VideoFrame {
        try Self.checkSides(width, height)
        // Pillow 13 starts with the columns if that removes clearly more pixels; earlier versions
        // never do.
        let (lessWide, lessHigh) = (self.width - width, self.height - height)
        if lessHigh > 0, lessHigh > 2 * lessWide {
            return withHeight(height).withWidth(width)
        }
        return withWidth(width).withHeight(height)
    }

    /// The frame resized to cover a size and center-cropped, as in Wan's wan/textimage2video.py.
    public func covering(width: Int, height: Int) throws(SwanError) -> VideoFrame {
        try Self.checkSides(width, height)
        let scale = max(
            Double(width) / Double(self.width),
            Double(height) / Double(self.height),
        )
        let wide = Int((Double(self.width) * scale).rounded(.toNearestOrEven))
        let high = Int((Double(self.height) * scale).rounded(.toNearestOrEven))
        guard max(wide, high) <= Self.maxSide else {
            throw SwanError(
                .unsupported,
                "an image of \(self.width)x\(self.height) is too narrow to cover \(width)x\(height)",
            )
        }
        let larger = try resized(width: wide, height: high)
        return try larger.cropped(
            left: (larger.width - width) / 2,
            top: (larger.height - height) / 2,
            width: width,
            height: height,
        )
    }

    /// The maximum side of a frame, in pixels.
    static let maxSide = 65_536

    private static func checkSides(_ width: Int, _ height: Int) throws(SwanError) {
        let sides = 1...maxSide
        guard sides.contains(width), sides.contains(height) else {
            throw SwanError(
                .invalidArgument,
                "invalid size \(width)x\(height): sides must be 1 to \(maxSide) pixels",
            )
        }
    }

    /// The part of the frame with its top-left corner at a pixel.
    public func cropped(
        left: Int,
        top: Int,
        width: Int,
        height: Int
    ) throws(SwanError) -> VideoFrame {
        guard left >= 0, top >= 0, width > 0, height > 0, left <= self.width - width,
            top <= self.height - height
        else {
            throw SwanError(
                .invalidArgument,
                "a crop of \(width)x\(height) at (\(left), \(top)) exceeds the frame of "
                    + "\(self.width)x\(self.height)",
            )
        }
        return VideoFrame(width: width, height: height, seconds: seconds) { target in
            pixels.withUnsafeBytes { source in
                for row in 0..<height {
                    let at = 3 * ((top + row) * self.width + left)
                    UnsafeMutableRawBufferPointer(rebasing: target[(3 * row * width)...])
                        .copyMemory(
                            from: UnsafeRawBufferPointer(rebasing: source[at..<(at + 3 * width)])
                        )
                }
            }
        }
    }

    private func withWidth(_ width: Int) -> VideoFrame {
        if width == self.width { return self }
        let taps = LanczosTaps(from: self.width, to: width)
        return VideoFrame(width: width, height: height, seconds: seconds) { target in
            pixels.withUnsafeBytes { source in
                for y in 0..<height {
                    let row = 3 * y * self.width
                    for x in 0..<width {
                        let (start, weights) = taps[x]
                        var sums = (LanczosTaps.half, LanczosTaps.half, LanczosTaps.half)
                        var at = row + 3 * start
                        for weight in weights {
                            sums.0 &+= Int32(source[at]) &* weight
                            sums.1 &+= Int32(source[at + 1]) &* weight
                            sums.2 &+= Int32(source[at + 2]) &* weight
                            at += 3
                        }
                        let to = 3 * (y * width + x)
                        target[to] = LanczosTaps.rounded(sums.0)
                        target[to + 1] = LanczosTaps.rounded(sums.1)
                        target[to + 2] = LanczosTaps.rounded(sums.2)
                    }
                }
            }
        }
    }

    private func withHeight(_ height: Int) -> VideoFrame {
        if height == self.height { return self }
        let taps = LanczosTaps(from: self.height, to: height)
        let bytes = 3 * width
        return VideoFrame(width: width, height: height, seconds: seconds) { target in
            pixels.withUnsafeBytes { source in
                // One row at a time, so that the inner loop runs over adjacent memory.
                var sums = [Int32](repeating: 0, count: bytes)
                for y in 0..<height {
                    let (start, weights) = taps[y]
                    for x in 0..<bytes { sums[x] = LanczosTaps.half }
                    for (index, weight) in weights.enumerated() {
                        let row = (start + index) * bytes
                        for x in 0..<bytes { sums[x] &+= Int32(source[row + x]) &* weight }
                    }
                    for x in 0..<bytes { target[y * bytes + x] = LanczosTaps.rounded(sums[x]) }
                }
            }
        }
    }
}

/// For each output pixel of a line, the input pixels and their weights in 1/2^22.
private struct LanczosTaps {
    private let starts: [Int]
    private let weights: [[Int32]]

    private static let precision = Int32(22)
    /// One half, the initial value of every sum, for rounding.
    static let half = Int32(1) << (precision - 1)

    init(from old: Int, to new: Int) {
        let scale = Double(old) / Double(new)
        // When shrinking, widen the filter to cover all pixels that are merged.
        let stretch = max(scale, 1)
        let support = 3 * stretch
        var starts: [Int] = []
        var weights: [[Int32]] = []
        for index in 0..<new {
            let center = (Double(index) + 0.5) * scale
            let first = max(Int(center - support + 0.5), 0)
            let last = min(Int(center + support + 0.5), old)
            let inverse = 1 / stretch
            var values = (first..<last).map { Self.lanczos((Double($0) - center + 0.5) * inverse) }
            let sum = values.reduce(0, +)
            if sum != 0 { values = values.map { $0 / sum } }
            starts.append(first)
            weights.append(values.map(Self.fixed))
        }
        (self.starts, self.weights) = (starts, weights)
    }

    subscript(index: Int) -> (start: Int, weights: [Int32]) {
        (starts[index], weights[index])
    }

    static func rounded(_ sum: Int32) -> UInt8 { UInt8(clamping: sum >> precision) }

    private static func fixed(_ weight: Double) -> Int32 {
        let scaled = weight * Double(Int32(1) << precision)
        return Int32(weight < 0 ? scaled - 0.5 : scaled + 0.5)
    }

    /// sinc(x) sinc(x / 3) within three pixels.
    private static func lanczos(_ x: Double) -> Double {
        (-3..<3).contains(x) ? sinc(x) * sinc(x / 3) : 0
    }

    private static func sinc(_ x: Double) -> Double {
        x == 0 ? 1 : sin(x * .pi) / (x * .pi)
    }
}
