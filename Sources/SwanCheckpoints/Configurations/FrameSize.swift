package import SwanSystem

/// The frame sizes that a model supports.
package enum FrameSize {
    /// Throws if a size is not a multiple of `multiple` or is out of range; the message suggests the
    /// nearest valid size.
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
                "unsupported size \(width)x\(height): this model needs multiples of \(multiple) up "
                    + "to \(largestSide); the nearest is \(nearest(width))x\(nearest(height))"
            )
        }
    }

    /// The maximum width and height in pixels.
    package static let largestSide = NumberLimits.side.upperBound
}
