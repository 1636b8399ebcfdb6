import SwanTiny
import SwanTraining
import Testing
import Torch

@testable import SwanEvaluation

/// The sharpness and the contrast of clips.
@Suite struct ClipTextureTests {
    /// A step between two colors has their distance, wherever it is.
    @Test func edgesHaveTheHeightOfTheirColors() throws {
        var values = [Float](repeating: 0.2, count: 2 * 3 * 16 * 16)
        for index in values.indices where index % 16 >= 8 { values[index] = 0.6 }
        let texture = try ClipTexture(Tensor(values, [2, 3, 16, 16]))
        // Of the 16 steepest places of 15 lines, 15 are at the edge.
        let height = 0.4 * 3.0.squareRoot()
        #expect(abs(texture.sharpness - height * 15 / 16) < 1e-5)
        #expect(abs(texture.contrast - 0.2) < 1e-5)
        let flat = try ClipTexture(.full([1, 3, 8, 8], 0.5))
        #expect(flat.sharpness == 0 && flat.contrast == 0)
    }

    /// Blur costs sharpness; so does the mean of several scenes.
    @Test func blurredScenesAreLessSharp() throws {
        let scenes = SceneSampler(frames: 9, seed: 1)
        for index in 0..<6 {
            let clip = try scenes.scene(UInt64(index)).clip(size: 64)
            let sharp = try ClipTexture(clip)
            let blurred = try ClipTexture(PixelMath.blurred(clip, 3))
            #expect(blurred.sharpness < 0.4 * sharp.sharpness)
            #expect(abs(blurred.contrast / sharp.contrast - 1) < 0.4)
        }
    }
}
