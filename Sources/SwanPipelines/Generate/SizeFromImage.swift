import Foundation
import SwanSystem

/// The size of a video that is made from an image: about an area, in the image's ratio.
///
/// The two rules of Wan differ in what is rounded, and in what then becomes of the image.
struct SizeFromImage {
    /// The image's, in pixels.
    let width, height: Int
    /// Pixels of a frame of the video.
    let area: Int
    /// What width and height of the video are multiples of.
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
                "an image of \(width)x\(height) and an area of \(area) pixels: all should be above 0"
            )
        }
        (self.width, self.height, self.area, self.multiple) = (width, height, area, multiple)
    }

    /// Within the area, of two candidates the one whose ratio is nearer to the image's.
    ///
    /// `best_output_size` of Wan2.2's wan/utils/utils.py, for TI2V-5B (multiples of 32): the image is
    /// then scaled to cover it, and its middle is taken (`VideoFrame.covering`).
    func nearestRatio() throws(SwanError) -> (width: Int, height: Int) {
        let ratio = Double(width) / Double(height)
        let exact = (Double(area) * ratio).squareRoot()
        // Each side is cut first, and the other one follows it.
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

    /// Both sides of the exact size cut to multiples.
    ///
    /// wan/image2video.py, for Wan 2.1 image-to-video and I2V-A14B (multiples of 16): the image is then
    /// stretched to it.
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
                + "nearer to a square, or ask for a larger area"
        )
    }
}
