import GoldenSupport
import SwanSystem
import Testing
import Torch

@testable import SwanEvaluation
@testable import SwanTiny
@testable import SwanTraining

@Suite struct PictureQualityTests {
    @Test(arguments: [0, 1]) func similarityMatchesTheReference(index: Int) throws {
        let golden = try Golden("ssim")
        func pictures(_ name: String) throws -> Tensor {
            try golden.input("\(name)_\(index)").unsqueezed(1).repeated([1, 3, 1, 1])
        }
        let found = try PictureQuality.ssim(pictures("first"), pictures("second"))
        try expectClose(
            found.to(.float64),
            golden.output("ssim_\(index)"),
            within: golden.tolerance
        )
    }

    @Test func equalPicturesHaveThePerfectScore() throws {
        let picture = try Tensor.rand([2, 3, 16, 20], Generator(seed: 1))
        try expectClose(PictureQuality.ssim(picture, picture), .ones([2]), absolute: 1e-5)
        #expect(try PictureQuality.squaredError(picture, picture) == 0)
        #expect(PictureQuality.psnr(squaredError: 0) == 100)
    }

    @Test func refusesSmallPictures() throws {
        let picture = try Tensor.ones([1, 3, 10, 16])
        #expect(throws: SwanError.self) { try PictureQuality.ssim(picture, picture) }
    }

    @Test func errorOfATenthIsTwentyDecibels() throws {
        let error = try PictureQuality.squaredError(
            Tensor.full([1, 3, 4, 4], 0.5),
            Tensor.full([1, 3, 4, 4], 0.6)
        )
        #expect(abs(PictureQuality.psnr(squaredError: error) - 20) < 1e-4)
    }

    @Test func measuresChangesBetweenNeighboringFrames() throws {
        let frames = try stacked([0, 0.5, 0.5, 0.25].map { try Tensor.full([3, 4, 4], $0) })
        try expectClose(
            PictureQuality.changes(frames),
            Tensor([0.25, 0, 0.0625] as [Float], [3])
        )
        #expect(try PictureQuality.changes(frames.sliced(0, 0..<1)).count == 0)
    }
}
