package import SwanSystem

/// Which sizes of frames a model can work on.
package enum FrameSize {
    /// Throws where a size is no multiple of `multiple`, or absurd; the message says what fits.
    package static func check(height: Int, width: Int, multiple: Int) throws(SwanError) {
        func nearest(_ size: Int) -> Int {
            let side = min(max(1, size), largestSide)
            return max(multiple, (side + multiple / 2) / multiple * multiple)
        }
        let sides = 1...largestSide
        guard sides.contains(height), sides.contains(width), height % multiple == 0,
            width % multiple == 0
        else {
            throw SwanError(
                .invalidRequest,
                "a size of \(width)x\(height) does not fit: this model takes multiples of \(multiple) up "
                    + "to \(largestSide); the nearest is \(nearest(width))x\(nearest(height))"
            )
        }
    }

    /// The longest side of a picture, in pixels.
    package static let largestSide = NumberLimits.side.upperBound
}
