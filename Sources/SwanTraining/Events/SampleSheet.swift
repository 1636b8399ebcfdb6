package import SwanMedia
package import SwanSystem
package import Torch

/// Pictures of what a network does with clips that are the same every time.
public struct SampleOptions: Codable, Sendable, Equatable {
    /// A sheet whenever this many steps of a stage are done, and at its end.
    public var everySteps: Int
    /// Clips on a sheet; 0 for no sheets.
    public var clips: Int

    /// So many clips every so many steps.
    public init(everySteps: Int = 200, clips: Int = 3) {
        self.everySteps = everySteps
        self.clips = clips
    }

    private enum CodingKeys: String, CodingKey {
        case everySteps = "every_steps", clips
    }

    /// Reads a recipe's keys; those that are absent have their defaults.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.init()
        everySteps = try values.decodeIfPresent(Int.self, forKey: .everySteps) ?? everySteps
        clips = try values.decodeIfPresent(Int.self, forKey: .clips) ?? clips
    }
}

/// Pictures side by side and one above the other, for people to look at.
package struct SampleSheet {
    /// The name of a method's only sheet, or of its main one.
    package static let usualName = "samples"

    /// What it is called among the sheets of its stage.
    package let name: String
    /// What is where, in words.
    package let caption: String
    private let picture: Tensor  // [3, H, W]

    /// Rows of pictures [3, H, W] in [0, 1]; pictures of a row have one height, all rows one width.
    package init(
        _ rows: [[Tensor]],
        name: String = usualName,
        caption: String
    ) throws(SwanError) {
        var lines: [Tensor] = []
        for row in rows { lines.append(try concatenated(row, dim: 2)) }
        picture = try concatenated(lines, dim: 1)
        self.name = name
        self.caption = caption
    }

    /// The sheet as one picture.
    package func frame() throws -> VideoFrame {
        let pixels = try PixelMath.bytes(picture).permuted(1, 2, 0)  // [H, W, 3]
        return try VideoFrame(
            width: pixels.size(1),
            height: pixels.size(0),
            pixels: pixels.array(of: UInt8.self)
        )
    }

    /// The sheet as a PNG file.
    func png() throws -> PNGPicture {
        let frame = try frame()
        return PNGPicture(width: frame.width, height: frame.height, bytes: try frame.png())
    }
}
