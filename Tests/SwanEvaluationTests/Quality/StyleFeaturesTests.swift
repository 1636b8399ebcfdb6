import Foundation
import GoldenSupport
import Testing
import Torch

@testable import SwanEvaluation
@testable import SwanTiny
@testable import SwanTraining

@Suite struct StyleFeaturesTests {
    /// Clips that `scripts/bootstrap` fetches. Drawn scenes are always available.
    static let footage = HeldOutFootage.clips.map { Golden.path("../\($0.path)") }
        .filter { FileManager.default.fileExists(atPath: $0) }

    @Test func everyStyleIsNearestToItselfOnDrawnScenes() throws {
        let mix = try ClipMix(DataConfig(), seed: 9)
        for index in 0..<4 as Range<UInt64> {
            let scene = try mix.clip(index: index, frames: 3, height: 64, width: 64)
            let clip = QualityClip(name: "scene \(index)", pixels: try PixelMath.bytes(scene))
            try expectEveryStyleNearestToItself(clip)
        }
    }

    @Test(arguments: footage) func everyStyleIsNearestToItselfOnFootage(file: String) throws {
        let clip = try QualityClip(file, height: 128, width: 128, maxFrames: 41)
        let some = try clip.pixels.sliced(0, 0..<clip.count, step: 40)
        try expectEveryStyleNearestToItself(QualityClip(name: clip.name, pixels: some))
    }

    /// Expects each style to be nearest to itself, also if it is blurred or grainy like the images
    /// of a small model (18 to 25 dB).
    private func expectEveryStyleNearestToItself(_ clip: QualityClip) throws {
        let targets = try StyleTargets(clip, styles: Style.bundled, count: clip.count)
        let grain = try Tensor.randn(clip.pixels.shape, Generator(seed: 3)) * 0.07
        for (position, style) in Style.bundled.enumerated() {
            for frame in 0..<clip.count {
                let exact = try targets.target(position, frames: [frame])
                let softened = try PixelMath.blurred(exact, 0.7)
                let noised = try (softened + grain.narrowed(0, frame, 1)).clamped(min: 0, max: 1)
                for (kind, output) in [("exact", exact), ("soft", softened), ("grainy", noised)] {
                    let found = try targets.nearest(to: output, frames: [frame])
                    #expect(
                        found == position,
                        "\(kind) \(style) of \(clip.name), frame \(frame), is nearest to \(Style.bundled[found])"
                    )
                }
            }
        }
    }

    @Test func distanceCoversColorAndStructure() throws {
        let gray = try Tensor.full([1, 3, 16, 16], 0.5)
        let red = try gray + Tensor([0.1, 0, 0] as [Float], [1, 3, 1, 1])
        let color = try StyleFeatures(gray).distance(to: StyleFeatures(red))
        #expect(abs(color - 0.01 / 3) < 1e-6)
        let shift = try Tensor.arange(0, 16).to(.float32).reshaped(1, 1, 1, 16) * 0.01
        let ramp = try gray + shift
        // The central difference is 0.02 / 2 across columns, and 0 across rows.
        let pixels = try PictureQuality.squaredError(gray, ramp)
        #expect(
            abs(try StyleFeatures(gray).distance(to: StyleFeatures(ramp)) - pixels - 0.0001) < 1e-6
        )
        #expect(try StyleFeatures(ramp).distance(to: StyleFeatures(ramp)) == 0)
    }
}
