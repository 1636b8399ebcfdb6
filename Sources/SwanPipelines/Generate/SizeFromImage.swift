import Foundation
import SwanSystem

/// The size of a video generated from an image: about an area, with the image's aspect ratio.
///
/// Wan has two rules, which differ in how they round and in how the image is then fitted.
struct SizeFromImage {
    /// The image's size in pixels.
    let width, height: Int
    /// The area of the video's frames in pixels.
    let area: Int
    /// The numbers of pixels that the video's width and height are multiples of.
    let multiple: (width: Int, height: Int)

    init(
        width: Int,
        height: Int,
        area: Int,
        multiple: (width: Int, height: Int)
    ) throws(SwanError) {
        guard width > 0, height > 0, area > 0 else {
            throw SwanError(
                .invalidRequest,
                "an image of \(width)x\(height) and an area of \(area) pixels: all must be above 0"
            )
        }
        (self.width, self.height, self.area, self.multiple) = (width, height, area, multiple)
    }

    /// Returns, of two candidates within the area, the one closer to the image's aspect ratio.
    ///
    /// `best_output_size` in Wan 2.2's wan/utils/utils.py, for TI2V-5B (multiples of 32): the image
    /// is then scaled to cover the size and center-cropped (`VideoFrame.covering`).
    func nearestRatio() throws(SwanError) -> (width: Int, height: Int) {
        let ratio = Double(width) / Double(height)
        let exact = (Double(area) * ratio).squareRoot()
        // Round down either side first and derive the other from it.
        let wide = cut(exact, multiple.width)
        let high = cut(Double(area) / exact, multiple.height)
        guard wide > 0, high > 0 else { throw tooNarrow() }
        let byWidth = (width: wide, height: cut(Double(area) / Double(wide), multiple.height))
        let byHeight = (width: cut(Double(area) / Double(high), multiple.width), height: high)
        let errors = [byWidth, byHeight].map { size in
            let own = Double(size.width) / Double(size.height)
            return max(ratio / own, own / ratio)
        }
        return errors[0] < errors[1] ? byWidth : byHeight
    }

    /// Returns the exact size with both sides rounded down to multiples.
    ///
    /// wan/image2video.py, for Wan 2.1 image-to-video and I2V-A14B (multiples of 16): the image is then
    /// stretched to the size.
    func cutSides() throws(SwanError) -> (width: Int, height: Int) {
        let aspect = Double(height) / Double(width)
        let wide = cut((Double(area) / aspect).squareRoot(), multiple.width)
        let high = cut((Double(area) * aspect).squareRoot(), multiple.height)
        guard wide > 0, high > 0 else { throw tooNarrow() }
        return (wide, high)
    }

    private func cut(_ length: Double, _ step: Int) -> Int { Int(length / Double(step)) * step }

    private func tooNarrow() -> SwanError {
        SwanError(
            .invalidRequest,
            "an image of \(width)x\(height) is too narrow for a video of \(area) pixels; crop it "
                + "closer to a square, or use a larger area"
        )
    }
}
