import Foundation
import SwanCheckpoints
public import SwanMedia

/// The size and pixel aspect ratio of a stream's input frames.
public struct FrameShape: Sendable, Equatable {
    /// The width in pixels.
    public let width: Int
    /// The height in pixels.
    public let height: Int
    /// The width of a pixel divided by its height.
    public let pixelAspect: Double

    /// Creates a shape of at least one pixel. A pixel aspect ratio outside 0.1 to 10 is attributed
    /// to a damaged header and replaced by 1.
    public init(width: Int, height: Int, pixelAspect: Double = 1) {
        self.width = max(width, 1)
        self.height = max(height, 1)
        self.pixelAspect = (0.1...10).contains(pixelAspect) ? pixelAspect : 1
    }

    /// Creates the shape of a video's upright frames.
    public init(_ info: VideoInfo) {
        self.init(
            width: info.width,
            height: info.height,
            pixelAspect: info.sampleAspectRatio.value
        )
    }

    /// The display aspect ratio: width divided by height.
    public var aspect: Double { Double(width) * pixelAspect / Double(height) }
}

extension StreamOptions {
    /// Sets the size for frames of a given shape.
    ///
    /// Without `width` and `height`, the frames' aspect ratio is kept: the size is a multiple of
    /// `multiple`, has about as many pixels as the current size (which is the model's own), and
    /// matches the aspect ratio as closely as possible; the remainder, usually less than 2%, is
    /// cropped at the edges. With one of them, the other follows. With both, `fit` decides: `crop`
    /// crops what does not fit; `pad` runs the model on the largest size with that aspect ratio and
    /// adds black bars; `stretch` distorts the frames.
    ///
    /// - Parameters:
    ///   - multiple: The number of pixels that both sides are multiples of; see
    ///     `StreamModel.sizeMultiple`.
    ///   - width: The width of the output frames, a multiple of `multiple`.
    ///   - height: The height of the output frames, a multiple of `multiple`.
    public mutating func setSize(
        for frames: FrameShape,
        multiple: Int,
        width wantedWidth: Int? = nil,
        height wantedHeight: Int? = nil,
        fit wantedFit: FrameFit = .crop
    ) {
        func side(_ length: Double, atMost limit: Int = FrameSize.largestSide) -> Int {
            let steps = min(max((length / Double(multiple)).rounded(), 1), Double(limit / multiple))
            return Int(steps) * multiple
        }
        let aspect = frames.aspect
        pixelAspect = frames.pixelAspect
        // A padded picture has the frames' aspect ratio, except for the remainder that is cropped.
        fit = wantedFit == .pad ? .crop : wantedFit
        switch (wantedWidth, wantedHeight) {
        case (nil, nil):
            (width, height) = Self.size(aspect, area: width * height, multiple: multiple)
        case (let wide?, nil): (width, height) = (wide, side(Double(wide) / aspect))
        case (nil, let high?): (width, height) = (side(Double(high) * aspect), high)
        case (let wide?, let high?):
            (width, height) = (wide, high)
            guard wantedFit == .pad else { return }
            if aspect * Double(high) > Double(wide) {
                height = side(Double(wide) / aspect, atMost: high)
            } else {
                width = side(Double(high) * aspect, atMost: wide)
            }
            if (width, height) != (wide, high) { (outputWidth, outputHeight) = (wide, high) }
        }
    }

    /// The fraction of a frame that is cropped, 0 to 1.
    func cutShare(of frames: FrameShape) -> Double {
        guard fit == .crop else { return 0 }
        let ratio = frames.aspect * Double(height) / Double(width)
        return 1 - min(ratio, 1 / ratio)
    }

    /// Returns the size that best matches an aspect ratio and an area. A 10% deviation in area
    /// counts as much as a 1% deviation in aspect ratio.
    private static func size(
        _ aspect: Double,
        area: Int,
        multiple: Int
    ) -> (width: Int, height: Int) {
        let most = FrameSize.largestSide / multiple
        func steps(_ length: Double) -> Int { Int(min(max(length, 1), Double(most))) }
        let ideal = (Double(area) / aspect).squareRoot() / Double(multiple)
        var best = (width: multiple, height: multiple)
        var lowest = Double.infinity
        for high in steps(ideal * 0.85)...steps((ideal * 1.15).rounded(.up)) {
            let wide = steps((Double(high) * aspect).rounded())
            let size = (width: wide * multiple, height: high * multiple)
            let shape = Double(size.width) / Double(size.height) / aspect
            let pixels = Double(size.width * size.height) / Double(area)
            let cost = abs(log(shape)) + 0.1 * abs(log(pixels))
            // Prefer the larger of two equally good sizes.
            if cost <= lowest + 1e-9 { (best, lowest) = (size, cost) }
        }
        return best
    }
}
