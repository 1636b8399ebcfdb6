import SwanMedia
import SwanSystem
import SwanTraining
import Torch

/// A contact sheet with a row for each clip: the input frame, then the output in each style.
struct StyleSheet {
    /// The longer side of a tile in pixels.
    static let tile = 144
    /// The number of white pixels to the right of and below each tile.
    static let gap = 4

    /// The images of each clip, from left to right: [1, 3, H, W] in [0, 1], all of the same size.
    var rows: [[Tensor]] = []

    /// Renders the sheet.
    func frame() throws -> VideoFrame {
        try SampleSheet(
            rows.map { row in try row.map { picture in try Self.tile(of: picture) } },
            caption: ""
        ).frame()
    }

    private static func tile(of picture: Tensor) throws(SwanError) -> Tensor {
        let scale = Double(tile) / Double(max(picture.size(2), picture.size(3)))
        let small = try picture.contiguous().resizedAntialiased(
            height: max(1, Int((Double(picture.size(2)) * scale).rounded())),
            width: max(1, Int((Double(picture.size(3)) * scale).rounded()))
        )
        return try small.padded([0, gap, 0, gap], value: 1).selected(0, 0)
    }
}
