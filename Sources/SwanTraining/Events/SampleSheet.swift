package import SwanMedia
package import SwanSystem
package import Torch

/// When to draw sample sheets, and how many clips they show. The clips are the same every time.
package struct SampleOptions: Codable, Sendable, Equatable {
    /// The number of steps between sheets. A sheet is also drawn at the end of a stage.
    package var everySteps: Int
    /// The number of clips on a sheet; 0 disables sheets.
    package var clips: Int

    /// Creates options for `clips` clips every `everySteps` steps.
    package init(everySteps: Int = 200, clips: Int = 3) {
        self.everySteps = everySteps
        self.clips = clips
    }

    private enum CodingKeys: String, CodingKey {
        case everySteps = "every_steps", clips
    }

    /// Decodes the options from a recipe; missing keys have their default values.
    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.init()
        everySteps = try values.decodeIfPresent(Int.self, forKey: .everySteps) ?? everySteps
        clips = try values.decodeIfPresent(Int.self, forKey: .clips) ?? clips
    }
}

/// A grid of images for visual inspection.
package struct SampleSheet {
    /// The name of a method's only sheet, or of its main one.
    package static let usualName = "samples"

    /// The name of the sheet within its stage.
    package let name: String
    /// A description of what the sheet shows.
    package let caption: String
    /// Numbers measured on what it shows, by name.
    package let figures: [String: Double]
    private let picture: Tensor  // [3, H, W]

    /// Creates a sheet from rows of images [3, H, W] in [0, 1]. All images in a row must have the
    /// same height, and all rows the same width.
    package init(
        _ rows: [[Tensor]],
        name: String = usualName,
        caption: String,
        figures: [String: Double] = [:]
    ) throws(SwanError) {
        var lines: [Tensor] = []
        for row in rows { lines.append(try concatenated(row, dim: 2)) }
        picture = try concatenated(lines, dim: 1)
        self.name = name
        self.caption = caption
        self.figures = figures
    }

    /// Returns the sheet as one image.
    package func frame() throws -> VideoFrame {
        let pixels = try PixelMath.bytes(picture).permuted(1, 2, 0)  // [H, W, 3]
        return try VideoFrame(
            width: pixels.size(1),
            height: pixels.size(0),
            pixels: pixels.array(of: UInt8.self)
        )
    }

    /// Returns the sheet as a PNG file.
    func png() throws -> PNGPicture {
        let frame = try frame()
        return PNGPicture(width: frame.width, height: frame.height, bytes: try frame.png())
    }
}
