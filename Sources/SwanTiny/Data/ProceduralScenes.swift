import Foundation
import SwanSystem
import SwanTraining
import Torch

/// Soft shapes moving over a gradient or waves: the flat colors and clean edges that photographs
/// lack.
struct ProceduralScenes: ClipMaker {
    func clip(_ size: ClipSize, _ random: inout SampleRandom) throws(SwanError) -> Tensor {
        let plane = try Plane(size)
        var scene = try background(plane, &random)  // [3, H, W]
        scene = try scene.unsqueezed(0).expanded([size.frames, 3, size.height, size.width])
        for _ in 0..<random.integer(2..<9) {
            let shape = Shape(&random)
            let cover = try shape.cover(of: plane)  // [T, 1, H, W]
            scene = try scene + (color(shape.color) - scene) * cover
        }
        return scene
    }

    private func background(
        _ plane: Plane,
        _ random: inout SampleRandom
    ) throws(SwanError) -> Tensor {
        let start = randomColor(&random)
        let end = randomColor(&random)
        let angle = random.uniform(0, 2 * .pi)
        let along = try plane.x * cos(angle) + plane.y * sin(angle)  // [H, W]
        let low = try along.min()
        let ramp = try (along - low) / (try along.max() - low).clamped(min: 1e-6)
        let picture = try color(start) + (color(end) - color(start)) * ramp
        guard random.chance(0.4) else { return picture }
        let frequency = random.uniform(12, 120)
        let strength = randomColor(&random).map { 0.25 * ($0 - 0.3) }
        let waves = try (along * frequency).sin() * color(strength)
        return try (picture + waves).clamped(min: 0, max: 1)
    }
}

/// Positions in an image, in units of its height, and frame indices.
private struct Plane {
    let x: Tensor  // [1, W]
    let y: Tensor  // [H, 1]
    let size: ClipSize

    init(_ size: ClipSize) throws(SwanError) {
        let aspect = Double(size.width) / Double(size.height)
        x = try Tensor.linspace(0, aspect, count: size.width).unsqueezed(0)
        y = try Tensor.linspace(0, 1, count: size.height).unsqueezed(1)
        self.size = size
    }
}

/// An ellipse or a box that moves and rotates.
private struct Shape {
    let color: [Double]
    private let start: (x: Double, y: Double)
    private let speed: (x: Double, y: Double)
    private let radius: (x: Double, y: Double)
    private let isEllipse: Bool
    private let angle: Double
    private let turning: Double

    init(_ random: inout SampleRandom) {
        start = (random.uniform(), random.uniform())
        speed = (random.uniform(-0.02, 0.02), random.uniform(-0.02, 0.02))
        radius = (random.uniform(0.04, 0.3), random.uniform(0.04, 0.3))
        color = randomColor(&random)
        isEllipse = random.chance(0.5)
        angle = random.uniform(0, .pi)
        turning = random.uniform(-0.05, 0.05)
    }

    /// Returns the coverage of each pixel, antialiased over one pixel: [T, 1, H, W].
    func cover(of plane: Plane) throws(SwanError) -> Tensor {
        let aspect = Double(plane.size.width) / Double(plane.size.height)
        // Along the shape's axes: u = ax x + ay y + a0, with one set of coefficients per frame.
        var along: [Double] = []
        var across: [Double] = []
        for frame in 0..<plane.size.frames {
            let time = Double(frame)
            let (s, c) = (sin(angle + turning * time), cos(angle + turning * time))
            let x = start.x * aspect + speed.x * time
            let y = start.y + speed.y * time
            along += [c / radius.x, s / radius.x, -(c * x + s * y) / radius.x]
            across += [-s / radius.y, c / radius.y, (s * x - c * y) / radius.y]
        }
        let u = try coordinate(along, plane)
        let v = try coordinate(across, plane)
        let distance =
            isEllipse ? try (u * u + v * v).squareRoot() : try maximum(try u.abs(), try v.abs())
        let sharpness = min(radius.x, radius.y) * Double(plane.size.height)
        return try ((1 - distance) * sharpness).clamped(min: 0, max: 1)
    }

    private func coordinate(_ numbers: [Double], _ plane: Plane) throws(SwanError) -> Tensor {
        let parts = try Tensor(numbers.map(Float.init), [plane.size.frames, 3, 1, 1])
        let x = try parts.sliced(1, 0..<1)
        let y = try parts.sliced(1, 1..<2)
        let offset = try parts.sliced(1, 2..<3)
        return try plane.x * x + (plane.y * y + offset)  // [T, 1, H, W]
    }
}

private func randomColor(_ random: inout SampleRandom) -> [Double] {
    (0..<3).map { _ in random.uniform() }
}

/// Returns a color that broadcasts over [..., 3, H, W].
private func color(_ values: [Double]) throws(SwanError) -> Tensor {
    try Tensor(values.map(Float.init), [3, 1, 1])
}
