import SwanMedia
import SwanSystem
import SwanTraining
import Torch

/// One picture of many: a row for each clip, the frame itself and then each style of it.
struct StyleSheet {
    /// Pixels of a tile's longer side.
    static let tile = 144
    /// White pixels right of and below each tile.
    static let gap = 4

    /// For each clip the pictures beside each other: [1, 3, H, W] in [0, 1], all of the same size.
    var rows: [[Tensor]] = []

    /// The sheet.
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
