package import SwanSystem
package import Torch

extension DrawnScene {
    /// Draws the clip with edges antialiased over a pixel: [T, 3, size, size], float32 in [0, 1].
    package func clip(size: Int) throws(SwanError) -> Tensor {
        var parts: [Tensor] = []
        for shot in shots { parts.append(try shot.clip(size: size)) }
        return try concatenated(parts)
    }
}

extension DrawnScene.Shot {
    fileprivate func clip(size: Int) throws(SwanError) -> Tensor {
        func color(_ values: [Double]) throws(SwanError) -> Tensor {
            try Tensor(values.map(Float.init), [1, 3, 1, 1])
        }
        var clip = try color(backdrop.color).expanded([frames.count, 3, size, size])
        for mover in movers {
            let cover = try mover.cover(frames: frames.count, size: size)
            clip = try clip + (color(mover.hue.color) - clip) * cover
        }
        return try clip.contiguous()
    }
}

extension DrawnScene.Mover {
    /// How much of each pixel it covers in the frames of its shot: [T, 1, size, size].
    func cover(frames: Int, size: Int) throws(SwanError) -> Tensor {
        let unit = DrawnScene.side / Double(size)
        let places = (0..<frames).map(place)
        func offsets(_ along: [Double], _ shape: [Int]) throws(SwanError) -> Tensor {
            let centers = try Tensor(along.map(Float.init), [frames, 1, 1, 1])
            let pixels = (0..<size).map { Float((Double($0) + 0.5) * unit) }
            return try Tensor(pixels, shape) - centers
        }
        let x = try offsets(places.map(\.x), [1, 1, 1, size])
        let y = try offsets(places.map(\.y), [1, 1, size, 1])
        return try (0.5 - distance(x, y) * (1 / unit)).clamped(min: 0, max: 1)
    }

    /// The signed distance of points to the outline, negative inside.
    private func distance(_ x: Tensor, _ y: Tensor) throws(SwanError) -> Tensor {
        switch form {
        case .ball: return try (x * x + y * y).squareRoot() - radius
        case .square: return try maximum(x.abs() + 0 * y, y.abs() + 0 * x) - reach
        case .triangle:
            // Equilateral, one corner up: half-planes at half the circumradius from the centroid.
            let slope = 3.0.squareRoot() / 2
            let sides = try maximum(x * slope - y * 0.5, x * -slope - y * 0.5)
            return try maximum(sides, y + 0 * x) - reach / 2
        case .ring:
            let middle = reach * 0.775
            return try ((x * x + y * y).squareRoot() - middle).abs() - reach * 0.225
        }
    }
}
