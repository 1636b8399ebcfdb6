import Foundation
import GoldenSupport
import SwanMedia
import Testing

@testable import SwanServeBench

@Suite struct FrameCounterTests {
    /// The brightness of the cells as a lossy path might leave it.
    private func levels(_ number: Int, noise: Double = 0) -> [Double] {
        FrameCounter.cells(number).enumerated().map { index, isBright in
            (isBright ? 215 : 40) + noise * (index.isMultiple(of: 2) ? 1 : -1)
        }
    }

    @Test func readsWhatItWrote() {
        for number in 0..<FrameCounter.count {
            #expect(FrameCounter.number(in: levels(number)) == number)
            #expect(FrameCounter.number(in: levels(number, noise: 60)) == number)
        }
    }

    @Test func aWrongCellIsNoticed() {
        for number in 0..<FrameCounter.count {
            for cell in 0..<16 {
                var levels = levels(number)
                levels[cell] = 255 - levels[cell]
                #expect(FrameCounter.number(in: levels) != number)
            }
        }
    }

    @Test func aPlainPictureHasNoNumber() {
        #expect(FrameCounter.number(in: Array(repeating: 128, count: 16)) == nil)
        #expect(FrameCounter.number(in: []) == nil)
    }

    @Test func theCameraIsAVideoOfAllNumbers() throws {
        let folder = try TemporaryDirectory()
        let path = folder.path("camera.y4m")
        try FrameCounter.writeCamera(path, width: 32, height: 16, framesPerSecond: 16)
        let data = try Data(contentsOf: URL(fileURLWithPath: path))
        let head = Data("YUV4MPEG2 W32 H16 F16:1 Ip A1:1 C420\n".utf8)
        #expect(data.prefix(head.count) == head)
        let frameBytes = "FRAME\n".utf8.count + 32 * 16 * 3 / 2
        #expect(data.count == head.count + FrameCounter.count * frameBytes)
        for number in [0, 1, 77, 127] {
            let start = head.count + number * frameBytes + "FRAME\n".utf8.count
            let levels = (0..<16).map { cell in
                Double(data[start + (cell / 4 * 4 + 1) * 32 + cell % 4 * 8 + 3])
            }
            #expect(FrameCounter.number(in: levels) == number)
        }
    }
}
