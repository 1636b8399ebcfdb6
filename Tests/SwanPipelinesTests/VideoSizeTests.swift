import Foundation
import SwanPipelines
import Testing

@Suite("Sizes of a video made from an image")
struct VideoSizeTests {
    /// Width and height of the image, area, width and height of the video (Goldens/sizes.py).
    private struct Goldens: Decodable {
        let best: [[Int]]
        let latent: [[Int]]
    }

    private let goldens: Goldens

    init() throws {
        let folder = URL(filePath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let file = folder.appending(path: "Goldens/sizes.json")
        goldens = try JSONDecoder().decode(Goldens.self, from: Data(contentsOf: file))
    }

    @Test("the nearest ratio within an area is Wan2.2's")
    func nearest() throws {
        #expect(goldens.best.count > 600)
        for row in goldens.best {
            let image = VideoSize(width: row[0], height: row[1])
            let size = try VideoSize.nearest(
                to: image,
                within: row[2],
                multiple: VideoSize(width: 32, height: 32)
            )
            #expect(size == VideoSize(width: row[3], height: row[4]), "\(image), \(row[2])")
            #expect(size.area <= row[2])
        }
    }

    @Test("about an area with the image's ratio is Wan's")
    func similar() throws {
        #expect(goldens.latent.count > 600)
        for row in goldens.latent {
            let image = VideoSize(width: row[0], height: row[1])
            let size = try VideoSize.similar(
                to: image,
                area: row[2],
                multiple: VideoSize(width: 16, height: 16)
            )
            #expect(size == VideoSize(width: row[3], height: row[4]), "\(image), \(row[2])")
        }
    }

    @Test("an image that is a line, and no area, are refused with what would be right")
    func refused() throws {
        let step = VideoSize(width: 32, height: 32)
        for (image, area) in [
            (VideoSize(width: 10_000, height: 1), 480 * 832),
            (VideoSize(width: 0, height: 5), 1_000),
            (VideoSize(width: 1, height: 9_000), 480 * 832), (VideoSize(width: 5, height: 5), 0),
        ] {
            #expect(throws: SwanError.self) {
                try VideoSize.nearest(to: image, within: area, multiple: step)
            }
            let error = #expect(throws: SwanError.self) {
                try VideoSize.similar(to: image, area: area, multiple: step)
            }
            #expect(error?.code == .invalidRequest)
            #expect(error?.message.contains("\(image)") == true)
        }
    }
}
