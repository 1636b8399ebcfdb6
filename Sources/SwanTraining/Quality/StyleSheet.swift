import SwanMedia
import Torch

/// One picture of many: a row for each clip, the frame itself and then each style of it.
struct StyleSheet {
    /// Pixels of a tile's longer side.
    static let tile = 144
    /// White pixels between tiles.
    static let gap = 4

    /// For each clip the pictures beside each other: [1, 3, H, W], uint8, all of the same size.
    var rows: [[Tensor]] = []

    /// The sheet: [1, 3, H, W], uint8.
    func picture() throws(TorchError) -> Tensor {
        let columns = rows.map(\.count).max() ?? 0
        guard let first = rows.first?.first else {
            throw TorchError(.invalidArgument, "a sheet needs at least one picture")
        }
        let scale = Double(Self.tile) / Double(max(first.size(2), first.size(3)))
        let height = max(1, Int((Double(first.size(2)) * scale).rounded()))
        let width = max(1, Int((Double(first.size(3)) * scale).rounded()))
        let sheet = try Tensor.full(
            [
                1, 3, rows.count * (height + Self.gap) - Self.gap,
                columns * (width + Self.gap) - Self.gap,
            ],
            255,
            .uint8
        )
        for (row, pictures) in rows.enumerated() {
            for (column, picture) in pictures.enumerated() {
                var place = try sheet.narrowed(2, row * (height + Self.gap), height)
                    .narrowed(3, column * (width + Self.gap), width)
                try place.copy(from: Footage.resized(picture, height: height, width: width))
            }
        }
        return sheet
    }

    /// Writes it as a PNG file.
    func write(to path: String) throws {
        let pixels = try picture().selected(0, 0).permuted(1, 2, 0).contiguous()
        try writePNG(
            VideoFrame(
                width: pixels.size(1),
                height: pixels.size(0),
                pixels: pixels.array(of: UInt8.self)
            ),
            path
        )
    }
}
