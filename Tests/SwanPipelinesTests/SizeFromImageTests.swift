import Foundation
import SwanSystem
import Testing

@testable import SwanPipelines

@Suite("Video size from an image")
struct SizeFromImageTests {
    /// Image width, image height, area, video width and video height (Goldens/sizes.py).
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

    private func rule(_ row: [Int], multiple: Int) throws -> SizeFromImage {
        try SizeFromImage(
            width: row[0],
            height: row[1],
            area: row[2],
            multiple: (multiple, multiple)
        )
    }

    @Test("nearest ratio within an area matches Wan2.2")
    func nearestRatio() throws {
        #expect(goldens.best.count > 600)
        for row in goldens.best {
            let size = try rule(row, multiple: 32).nearestRatio()
            #expect(size == (row[3], row[4]), "\(row)")
        }
    }

    @Test("sides cut to multiples match Wan")
    func cutSides() throws {
        #expect(goldens.latent.count > 600)
        for row in goldens.latent {
            let size = try rule(row, multiple: 16).cutSides()
            #expect(size == (row[3], row[4]), "\(row)")
        }
    }

    @Test("refuses degenerate images and empty areas")
    func refusesDegenerateSizes() throws {
        for row in [[10_000, 1, 480 * 832], [1, 9_000, 480 * 832]] {
            let rule = try rule(row, multiple: 32)
            let first = #expect(throws: SwanError.self) { try rule.nearestRatio() }
            let second = #expect(throws: SwanError.self) { try rule.cutSides() }
            for error in [first, second] {
                #expect(error?.code == .invalidRequest)
                #expect(error?.message.contains("\(row[0])x\(row[1])") == true)
            }
        }
        for row in [[0, 5, 1_000], [5, 0, 1_000], [5, 5, 0]] {
            #expect(throws: SwanError.self) { try rule(row, multiple: 32) }
        }
    }
}
