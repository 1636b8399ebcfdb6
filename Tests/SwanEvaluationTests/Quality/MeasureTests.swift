import Foundation
import GoldenSupport
import Testing
import Torch

@testable import SwanEvaluation
@testable import SwanTiny
@testable import SwanTraining
import SwanMedia

@Suite struct MeasureTests {
    let clip: QualityClip
    let targets: StyleTargets

    init() throws {
        let scene = try ClipMix(DataConfig(), seed: 9).clip(
            index: 2,
            frames: 13,
            height: 64,
            width: 64
        )
        clip = QualityClip(name: "scene", pixels: try PixelMath.bytes(scene))
        targets = try StyleTargets(clip, styles: Style.bundled, count: 13)
    }

    /// The clip in a style, in chunks as a stream returns them: 5 frames, then 4 each.
    private func chunks(_ position: Int) throws -> [MeasuredStream.Chunk] {
        try [0..<5, 5..<9, 9..<13].enumerated().map { number, frames in
            MeasuredStream.Chunk(
                number: number,
                first: frames.lowerBound,
                sources: Array(frames),
                output: try targets.target(position, frames: Array(frames))
            )
        }
    }

    private func figures(_ row: QualityRow) -> [String: Double] {
        Dictionary(row.figures.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 })
    }

    @Test func exactStylesMeetEveryBound() throws {
        for position in Style.bundled.indices {
            var measure = StyleMeasure(targets, position: position, prompts: [0: "a"])
            for chunk in try chunks(position) { try measure.add(chunk) }
            let row = measure.row(clip: "scene")
            #expect(row.holds)
            #expect(row.note == nil)
            let found = figures(row)
            #expect(found["nearest"] == 100)
            #expect(found["PSNR"] == 100)
            #expect(abs((found["SSIM"] ?? 0) - 1) < 1e-4)
            #expect(abs((found["flicker"] ?? 0) - 1) < 1e-4)
        }
    }

    @Test func countsChunksOfAnotherStyleAsMisses() throws {
        let (sketch, neon) = (1, 2)
        var measure = StyleMeasure(targets, position: sketch, prompts: [0: "one", 8: "two"])
        let (asked, other) = (try chunks(sketch), try chunks(neon))
        for chunk in [asked[0], other[1], asked[2]] { try measure.add(chunk) }
        let row = measure.row(clip: "scene")
        #expect(!row.holds)
        #expect(abs((figures(row)["nearest"] ?? 0) - 200 / 3) < 1e-9)
        // The second prompt starts at the last frame of the chunk that missed.
        #expect(row.note == "of 3 chunks nearest to neon in 1, prompted by 'two'")
    }

    @Test func measuresFlickerBetweenChunks() throws {
        var measure = StyleMeasure(targets, position: 0, prompts: [0: "a"])
        var reference = StyleMeasure(targets, position: 0, prompts: [0: "a"])
        for chunk in try chunks(0) {
            // The second chunk is darker, which increases the changes between chunks.
            let output = try chunk.output * (chunk.number == 1 ? 0.9 : 1)
            try measure.add(
                MeasuredStream.Chunk(
                    number: chunk.number,
                    first: chunk.first,
                    sources: chunk.sources,
                    output: output
                )
            )
            try reference.add(chunk)
        }
        let flicker = figures(measure.row(clip: ""))["flicker"] ?? 0
        #expect(flicker > (figures(reference.row(clip: ""))["flicker"] ?? 0) + 0.05)
    }

    @Test func countsDelaysInChunks() {
        let order = [4, 7, 1]
        let stays = [4, 4, 4, 4, 4, 4, 7, 7, 7, 7, 7, 7, 1, 1, 1, 1, 1, 1]
        #expect(ChangeMeasure.delays(stays, order: order) == ([0, 0], 100))
        let slow = [4, 4, 4, 4, 4, 4, 4, 4, 7, 7, 7, 7, 7, 1, 7, 7, 1, 4]
        let found = ChangeMeasure.delays(slow, order: order)
        #expect(found.delays == [2, 1])
        #expect(found.share == 60)
        let never = Array(repeating: 4, count: 18)
        #expect(ChangeMeasure.delays(never, order: order) == ([6, 6], 0))
    }

    @Test func promptsThatNeverTakeEffectFail() throws {
        var measure = ChangeMeasure(targets, order: [0, 1])
        #expect(measure.chunks == 12)
        let (plain, sketch) = (try chunks(0), try chunks(1))
        for number in 0..<12 { try measure.add(number < 6 ? plain[1] : plain[2]) }
        #expect(!measure.row(clip: "").holds)
        #expect(measure.row(clip: "").note == "sketch after 6")
        measure = ChangeMeasure(targets, order: [0, 1])
        for number in 0..<12 { try measure.add(number < 7 ? plain[1] : sketch[1]) }
        #expect(measure.row(clip: "").holds)
    }

    @Test func detectsDrift() throws {
        for (factor, holds) in [(1.0, true), (1.02, true), (1.2, false), (0.5, false)] {
            var measure = try DriftMeasure(clip, style: .none, frames: 40)
            let frames = measure.frames
            #expect(frames == 40)
            for first in stride(from: 0, to: frames, by: 2) {
                let sources = [first, first + 1].map { QualityClip.swing($0, over: measure.loop) }
                let grain = try Tensor.randn([2, 3, 64, 64], Generator(seed: 5))
                let strength = first < frames / 2 ? 0.05 : 0.05 * factor.squareRoot()
                try measure.add(
                    MeasuredStream.Chunk(
                        number: first / 2,
                        first: first,
                        sources: sources,
                        output: try targets.target(0, frames: sources) + grain * strength
                    )
                )
            }
            let row = measure.row(clip: "")
            #expect(row.holds == holds, "\(row.line)")
            #expect(abs((figures(row)["last tenth over first"] ?? 0) - factor) < 1e-3)
        }
    }

    @Test func sheetsHaveARowForEachClip() throws {
        func picture(_ level: Double) throws -> Tensor {
            try Tensor.full([1, 3, 256, 128], level / 255)
        }
        let rows = [[try picture(10), try picture(20)], [try picture(30), try picture(40)]]
        let sheet = try StyleSheet(rows: rows).frame()
        #expect(sheet.width == 2 * 76 && sheet.height == 2 * 148)
        func level(_ y: Int, _ x: Int) -> UInt8 { sheet.pixels[3 * (y * sheet.width + x)] }
        #expect(level(0, 0) == 10 && level(143, 71) == 10)
        #expect(level(0, 76) == 20 && level(148, 0) == 30 && level(291, 147) == 40)
        #expect(level(145, 0) == 255 && level(0, 73) == 255 && level(200, 74) == 255)
    }
}
