import Testing
import Torch

@testable import SwanTiny
@testable import SwanTraining

@Suite struct PatchCodeTests {
    @Test func codesOfFullSizeAreLossless() throws {
        let clip = try scene(1)
        let size = PatchCode.Size(frames: 2, side: 2, channels: 24)
        #expect(try PatchCode(of: [clip], size).squaredError(of: clip) < 1e-7)
    }

    @Test func largerCodesAndACodeOfTheClipItselfLoseLess() throws {
        let (clip, other) = (try scene(1), try scene(2))
        var last = Double.infinity
        for channels in [1, 4, 16, 48] {
            let size = PatchCode.Size(frames: 4, side: 8, channels: channels)
            let own = try PatchCode(of: [clip], size).squaredError(of: clip)
            let given = try PatchCode(of: [other], size).squaredError(of: clip)
            #expect(own < last)
            #expect(own <= given)
            last = own
        }
        #expect(last > 0)
    }

    @Test func constantGrayNeedsOneChannel() throws {
        var frames = try Tensor.empty([9, 3, 16, 16], .uint8)
        for index in 0..<9 {
            var frame = try frames.narrowed(0, index, 1)
            try frame.fill(with: index == 0 ? 40 : Double(25 * ((index - 1) / 4)))
        }
        frames = try frames.contiguous()
        let size = PatchCode.Size(frames: 4, side: 8, channels: 1)
        #expect(try PatchCode(of: [frames], size).squaredError(of: frames) < 1e-6)
    }

    /// 9 frames of 32x32.
    private func scene(_ index: UInt64) throws -> Tensor {
        try PixelMath.bytes(
            ClipMix(DataConfig(), seed: 4).clip(index: index, frames: 9, height: 32, width: 32)
        )
    }
}
