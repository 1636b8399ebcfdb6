import Foundation
package import SwanSystem
package import Torch

/// Pans and zooms over still images at the speed of a hand-held camera.
package struct StillPans: ClipMaker {
    /// Each image at several sizes, largest first.
    private let pictures: [[Tensor]]

    /// Creates pans over images [1, 3, H, W], uint8.
    package init(_ pictures: [Tensor]) throws(SwanError) {
        var pyramids: [[Tensor]] = []
        for picture in pictures { pyramids.append(try Self.pyramid(picture)) }
        self.pictures = pyramids
    }

    /// Returns the image at sizes a factor of sqrt(2) apart, so that bilinear sampling never
    /// shrinks it enough to cause flicker.
    private static func pyramid(_ picture: Tensor) throws(SwanError) -> [Tensor] {
        var levels = [picture]
        for level in 1...5 {
            let scale = pow(0.5, Double(level) / 2)
            let height = Int((Double(picture.size(2)) * scale).rounded())
            let width = Int((Double(picture.size(3)) * scale).rounded())
            guard min(height, width) >= 64 else { break }
            levels.append(try Footage.resized(picture, height: height, width: width))
        }
        return levels
    }

    package func clip(_ size: ClipSize, _ random: inout SampleRandom) throws(SwanError) -> Tensor {
        let levels = random.pick(pictures)
        let path = CameraPath(over: levels[0], size, &random)
        let level = min(levels.count - 1, max(0, Int((2 * log2(path.narrowest)).rounded(.down))))
        let picture = try levels[level].to(.float32) * (1 / 255)
        let views = try picture.expanded([size.frames, 3, picture.size(2), picture.size(3)])
        return try views.sampledBilinear(at: try path.grid()).clamped(min: 0, max: 1)
    }
}

/// The region of an image that each frame of a clip shows, in image pixels.
private struct CameraPath {
    private let size: ClipSize
    private let picture: (height: Double, width: Double)
    /// Image pixels per clip pixel in the first and in the last frame.
    private let scales: (first: Double, last: Double)
    private let center: (x: Double, y: Double)
    /// Image pixels per frame.
    private let speed: (x: Double, y: Double)

    /// The smaller of the two scales.
    var narrowest: Double { min(scales.first, scales.last) }

    init(over picture: Tensor, _ size: ClipSize, _ random: inout SampleRandom) {
        self.size = size
        self.picture = (Double(picture.size(2)), Double(picture.size(3)))
        let fit = min(
            self.picture.height / Double(size.height),
            self.picture.width / Double(size.width)
        )
        let first = random.uniform(0.8, max(0.8, 0.95 * fit))
        scales = (first, first * exp(random.normal(0.02)))
        let widest = max(scales.first, scales.last) / 2
        let margin = (x: widest * Double(size.width), y: widest * Double(size.height))
        center = (
            random.uniform(margin.x, max(margin.x, self.picture.width - margin.x)),
            random.uniform(margin.y, max(margin.y, self.picture.height - margin.y))
        )
        let stands = random.chance(0.2)
        let pace = random.uniform(0, 3)
        let angle = random.uniform(0, 2 * .pi)
        speed = stands ? (0, 0) : (pace * cos(angle), pace * sin(angle))
    }

    /// Returns sampling positions [T, H, W, 2] as (x, y), with the image's borders at -1 and 1.
    func grid() throws(SwanError) -> Tensor {
        let shape = [size.frames, size.height, size.width, 1]
        var columns: [Float] = []
        var rows: [Float] = []
        for frame in 0..<size.frames {
            let time = Double(frame)
            let progress = time / Double(max(1, size.frames - 1))
            let scale = scales.first + (scales.last - scales.first) * progress
            let x = center.x + speed.x * time
            let y = center.y + speed.y * time
            for column in 0..<size.width {
                let place = x + scale * (Double(column) + 0.5 - Double(size.width) / 2)
                columns.append(Float(2 * place / picture.width - 1))
            }
            for row in 0..<size.height {
                let place = y + scale * (Double(row) + 0.5 - Double(size.height) / 2)
                rows.append(Float(2 * place / picture.height - 1))
            }
        }
        return try concatenated(
            [
                try Tensor(columns, [size.frames, 1, size.width, 1]).expanded(shape),
                try Tensor(rows, [size.frames, size.height, 1, 1]).expanded(shape),
            ],
            dim: -1
        )
    }
}
