import Foundation

/// Width and height of a picture or video, in pixels.
public struct VideoSize: Sendable, Hashable, CustomStringConvertible {
    /// In pixels.
    public let width: Int
    /// In pixels.
    public let height: Int

    /// A size as it is given.
    public init(width: Int, height: Int) {
        (self.width, self.height) = (width, height)
    }

    /// `1280x704`.
    public var description: String { "\(width)x\(height)" }

    /// Pixels of a frame.
    public var area: Int { width * height }
}

// MARK: - From an image

extension VideoSize {
    /// The largest size within an area whose sides are multiples and whose ratio is nearest to the
    /// image's: Wan2.2's `best_output_size`, with which TI2V-5B (multiples of 32) fits a video to an
    /// image.
    ///
    /// The image is then resized to cover it and its middle is taken (`VideoFrame.filling`).
    public static func nearest(
        to image: VideoSize,
        within area: Int,
        multiple: VideoSize
    ) throws(SwanError) -> VideoSize {
        try check(image, area)
        let ratio = Double(image.width) / Double(image.height)
        let width = (Double(area) * ratio).squareRoot()
        let height = Double(area) / width
        // Each side is rounded first, and the other one follows it.
        let wide = multipleOf(multiple.width, within: width)
        let high = multipleOf(multiple.height, within: height)
        guard wide > 0, high > 0 else { throw tooNarrow(image, area) }
        let byWidth = VideoSize(
            width: wide,
            height: multipleOf(multiple.height, within: Double(area) / Double(wide))
        )
        let byHeight = VideoSize(
            width: multipleOf(multiple.width, within: Double(area) / Double(high)),
            height: high
        )
        let errors = [byWidth, byHeight].map { size in
            let own = Double(size.width) / Double(size.height)
            return max(ratio / own, own / ratio)
        }
        return errors[0] < errors[1] ? byWidth : byHeight
    }

    /// About an area with the image's ratio, both sides cut to multiples: wan/image2video.py, the
    /// rule of Wan 2.1 image-to-video and of I2V-A14B (multiples of 16).
    ///
    /// The image is then stretched to it.
    public static func similar(
        to image: VideoSize,
        area: Int,
        multiple: VideoSize
    ) throws(SwanError) -> VideoSize {
        try check(image, area)
        let aspect = Double(image.height) / Double(image.width)
        let size = VideoSize(
            width: multipleOf(multiple.width, within: (Double(area) / aspect).squareRoot()),
            height: multipleOf(multiple.height, within: (Double(area) * aspect).squareRoot())
        )
        guard size.width > 0, size.height > 0 else { throw tooNarrow(image, area) }
        return size
    }

    private static func multipleOf(_ step: Int, within length: Double) -> Int {
        Int(length / Double(step)) * step
    }

    private static func check(_ image: VideoSize, _ area: Int) throws(SwanError) {
        guard image.width > 0, image.height > 0, area > 0 else {
            throw SwanError(
                .invalidRequest,
                "an image of \(image) and an area of \(area) pixels: all should be above 0"
            )
        }
    }

    private static func tooNarrow(_ image: VideoSize, _ area: Int) -> SwanError {
        SwanError(
            .invalidRequest,
            "an image of \(image) is too narrow for a video of \(area) pixels; crop it nearer to a "
                + "square, or ask for a larger area"
        )
    }
}
