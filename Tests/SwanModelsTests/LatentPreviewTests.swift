import GoldenSupport
import Testing
import Torch

@testable import SwanModels
import SwanSystem

@Suite struct LatentPreviewTests {
    @Test func mapsEveryLatentLinearly() throws {
        let preview = try LatentPreview(
            factors: [[0.5, 0, 0], [0, 0.25, -1]],
            bias: [0, 0.5, 0]
        )
        let latents = try Tensor([1.0, -4, 0.5, 2, 1, -1], [1, 2, 3, 1, 1]).to(.bfloat16)
        let frames = try preview.frames(of: latents)
        #expect(frames.shape == [3, 3, 1, 1] && frames.dtype == .float32)
        // (x + 1) / 2 of the colors, clamped to [0, 1].
        let expected: [Double] = [0.75, 1, 0, 0, 0.875, 0, 0.625, 0.625, 1]
        #expect(try frames.array(of: Double.self) == expected)
    }

    @Test func publishedMaps() throws {
        #expect(LatentPreview.wan21.factors.count == 16)
        #expect(LatentPreview.wan22.factors.count == 48)
        #expect(LatentPreview.known(latentChannels: 48)?.bias == [0.0317, -0.0878, -0.1388])
        #expect(LatentPreview.known(latentChannels: 16)?.factors[6] == [-0.3477, -0.4059, -0.2925])
        #expect(LatentPreview.known(latentChannels: 12) == nil)
        let latents = try Tensor.randn([1, 48, 2, 3, 5], Generator(seed: 1))
        let frames = try LatentPreview.wan22.frames(of: latents)
        #expect(frames.shape == [2, 3, 3, 5])
        let (least, most) = (try frames.min().item(), try frames.max().item())
        #expect(least >= 0 && most <= 1 && most - least > 0.2)
        // One pixel computed by hand.
        let channels = try latents.selected(0, 0).selected(1, 1).selected(1, 2).selected(1, 4)
            .array(of: Double.self)
        let red = zip(channels, LatentPreview.wan22.factors).map { $0 * $1[0] }.reduce(0.0317, +)
        let pixel = try frames.selected(0, 1).selected(0, 0).selected(0, 2).selected(0, 4).item()
        #expect(abs(pixel - min(max((red + 1) / 2, 0), 1)) < 1e-5)
    }

    @Test func namesMismatchedShapes() throws {
        let error = #expect(throws: SwanError.self) {
            try LatentPreview.wan21.frames(of: .zeros([1, 48, 1, 2, 2]))
        }
        #expect(error?.message.contains("[1, 16, F, h, w]") == true)
        for (factors, bias) in [([[1.0, 2]], [0.0, 0, 0]), ([], [0, 0, 0]), ([[1, 2, 3]], [0])] {
            #expect(throws: SwanError.self) { try LatentPreview(factors: factors, bias: bias) }
        }
    }
}
