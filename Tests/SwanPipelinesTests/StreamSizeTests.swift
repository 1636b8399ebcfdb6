import SwanCheckpoints
import SwanMedia
import Testing

@testable import SwanPipelines

/// The size of a stream for frames of a given shape.
@Suite struct StreamSizeTests {
    private func options(_ height: Int = 256, _ width: Int = 256) -> StreamOptions {
        StreamOptions(StreamConfiguration(), height: height, width: width)
    }

    private func size(
        _ frames: FrameShape,
        own: (width: Int, height: Int) = (256, 256),
        multiple: Int = 16
    ) -> StreamOptions {
        var options = options(own.height, own.width)
        options.setSize(for: frames, multiple: multiple)
        return options
    }

    @Test(arguments: [
        (256, 256, 256, 256), (64, 64, 256, 256), (1920, 1080, 336, 192), (1080, 1920, 192, 336),
        (640, 480, 320, 240), (720, 1280, 192, 336), (3840, 1600, 384, 160), (1024, 1024, 256, 256),
    ])
    func keepsTheShape(width: Int, height: Int, wide: Int, high: Int) {
        let options = size(FrameShape(width: width, height: height))
        #expect((options.width, options.height) == (wide, high))
        #expect(options.fit == .crop)
        #expect(options.outputWidth == nil && options.outputHeight == nil)
    }

    /// For shapes up to 3:1 and models of several sizes, little is cropped and the area stays about
    /// the same.
    @Test func staysCloseToTheModelsArea() {
        for own in [(256, 256), (832, 480), (480, 832), (1280, 704)] {
            for multiple in [16, 32] {
                for width in stride(from: 640, through: 1_920, by: 37) {
                    let frames = FrameShape(width: width, height: 640)
                    let options = size(frames, own: own, multiple: multiple)
                    #expect(options.width % multiple == 0 && options.height % multiple == 0)
                    let area = Double(options.width * options.height) / Double(own.0 * own.1)
                    #expect((0.7...1.45).contains(area), "\(width): \(area)")
                    let most = multiple == 16 ? 0.031 : 0.065
                    #expect(options.cutShare(of: frames) < most, "\(width) \(own)")
                }
            }
        }
    }

    /// The shape is the displayed one: the pixels of a DVD are not square.
    @Test func handlesNonSquarePixels() {
        let options = size(FrameShape(width: 720, height: 576, pixelAspect: 64.0 / 45))
        #expect((options.width, options.height) == (336, 192))
        #expect(options.pixelAspect == 64.0 / 45)
        #expect(size(FrameShape(width: 100, height: 100, pixelAspect: 1e9)).width == 256)
        #expect(size(FrameShape(width: 100, height: 100, pixelAspect: .nan)).width == 256)
    }

    @Test func absurdShapesGetAValidSize() {
        for (width, height) in [
            (1, 65_536), (65_536, 1), (0, 0), (.max, 1), (1, .max), (-5, 3),
        ] {
            let options = size(FrameShape(width: width, height: height))
            for side in [options.width, options.height] {
                #expect((16...FrameSize.largestSide).contains(side) && side % 16 == 0)
            }
        }
    }

    @Test func computesOneSideFromTheOther() {
        var options = options()
        let frames = FrameShape(width: 1_920, height: 1_080)
        options.setSize(for: frames, multiple: 16, width: 512)
        #expect((options.width, options.height) == (512, 288))
        options.setSize(for: frames, multiple: 16, height: 144)
        #expect((options.width, options.height) == (256, 144))
        options.setSize(for: FrameShape(width: 10_000, height: 1), multiple: 16, height: 8_192)
        #expect(options.width == 8_192)
    }

    @Test func fitsBothSides() {
        let frames = FrameShape(width: 1_920, height: 1_080)
        var cropped = options()
        cropped.setSize(for: frames, multiple: 16, width: 512, height: 512)
        #expect((cropped.width, cropped.height, cropped.fit) == (512, 512, .crop))
        #expect(abs(cropped.cutShare(of: frames) - 0.4375) < 1e-9)
        var stretched = options()
        stretched.setSize(for: frames, multiple: 16, width: 512, height: 512, fit: .stretch)
        #expect((stretched.width, stretched.height, stretched.fit) == (512, 512, .stretch))
        #expect(stretched.cutShare(of: frames) == 0)
        var padded = options()
        padded.setSize(for: frames, multiple: 16, width: 512, height: 512, fit: .pad)
        #expect((padded.width, padded.height) == (512, 288))
        #expect((padded.outputWidth, padded.outputHeight) == (512, 512))
        var tall = options()
        let portrait = FrameShape(width: 900, height: 1_600)
        tall.setSize(for: portrait, multiple: 16, width: 512, height: 512, fit: .pad)
        #expect((tall.width, tall.height) == (288, 512))
    }

    @Test func padsFramesWithBlack() throws {
        let frame = try VideoFrame(width: 2, height: 1, pixels: [1, 2, 3, 4, 5, 6])
        let larger = frame.centered(width: 4, height: 3)
        var expected = [UInt8](repeating: 0, count: 36)
        expected.replaceSubrange(15..<21, with: [1, 2, 3, 4, 5, 6])
        #expect(larger.pixels == expected)
        #expect(frame.centered(width: 1, height: 1).pixels == frame.pixels)
    }
}
