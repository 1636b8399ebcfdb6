import Foundation
import SwanCheckpoints
public import SwanMedia

/// The shape of the frames that go into a stream.
public struct FrameShape: Sendable, Equatable {
    /// In pixels.
    public let width: Int
    /// In pixels.
    public let height: Int
    /// The width of a pixel by its height.
    public let pixelAspect: Double

    /// The shape of frames of at least one pixel. A pixel that is ten times as wide as high, or more, is taken
    /// for a damaged header, and so for a square.
    public init(width: Int, height: Int, pixelAspect: Double = 1) {
        self.width = max(width, 1)
        self.height = max(height, 1)
        self.pixelAspect = (0.1...10).contains(pixelAspect) ? pixelAspect : 1
    }

    /// The shape of a video's frames, upright.
    public init(_ info: VideoInfo) {
        self.init(
            width: info.width,
            height: info.height,
            pixelAspect: info.sampleAspectRatio.value
        )
    }

    /// Width by height, as shown.
    public var aspect: Double { Double(width) * pixelAspect / Double(height) }
}

extension StreamOptions {
    /// Sets the size for frames of a shape.
    ///
    /// Without `width` and `height` the frames' shape is kept: sides are multiples, have about as many pixels as
    /// the size so far (which is the model's own), and come as near to the shape as they can; the rest, mostly
    /// less than 2 %, is cut off at the edges. With one of them the other follows. With both `fit` decides:
    /// `crop` cuts off what has no room; `pad` has the model work on the largest picture of that shape, and
    /// surrounds that with black; `stretch` takes the frames out of shape.
    ///
    /// - Parameters:
    ///   - multiple: what sides are multiples of, `StreamModel.sizeMultiple`.
    ///   - width: the width of the frames that come out, a multiple.
    ///   - height: their height, a multiple.
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
        // What is padded has the frames' shape but for the rest that is cut.
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

    /// The share of a frame's picture that is cut off, 0 to 1.
    func cutShare(of frames: FrameShape) -> Double {
        guard fit == .crop else { return 0 }
        let ratio = frames.aspect * Double(height) / Double(width)
        return 1 - min(ratio, 1 / ratio)
    }

    /// Of sizes of about an area, the one that is best in shape and area; a tenth more or less of the area counts
    /// as much as a hundredth of the shape.
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
            // Of two that are as good, the larger one.
            if cost <= lowest + 1e-9 { (best, lowest) = (size, cost) }
        }
        return best
    }
}
