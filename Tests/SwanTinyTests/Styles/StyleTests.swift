import Foundation
import GoldenSupport
import SwanModels
import SwanSystem
import SwanTiny
import SwanTraining
import Testing
import Torch

@Suite struct StyleTests {
    @Test(arguments: Style.bundled) func keepsShapeAndRange(style: Style) throws {
        let clip = try scene(index: 1)
        let styled = try style(clip)
        #expect(styled.shape == clip.shape)
        #expect(styled.dtype == .float32)
        #expect(try styled.min().item() >= 0)
        #expect(try styled.max().item() <= 1)
        #expect(try styled.isFinite().all())
    }

    @Test(arguments: Style.bundled) func treatsEachFrameAlone(style: Style) throws {
        let clip = try scene(index: 2)
        let alone = try style(clip.sliced(0, 1..<2))
        try expectClose(try style(clip).sliced(0, 1..<2), alone, absolute: 1e-5)
    }

    @Test func noneChangesNothing() throws {
        let clip = try scene(index: 3)
        #expect(try Style.none(clip).array(of: Float.self) == clip.array(of: Float.self))
    }

    @Test func sepiaAppliesItsMatrix() throws {
        let clip = try scene(index: 4)
        let rows = [[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]]
        let channels = try (0..<3).map { try clip.selected(1, $0) }
        let expected = try rows.map { row in
            try (channels[0] * row[0] + channels[1] * row[1] + channels[2] * row[2])
                .clamped(max: 1)
        }
        try expectClose(try Style.sepia(clip), stacked(expected, dim: 1))
        let gray = try Tensor.full([1, 3, 16, 16], 0.5)
        let means = try Style.sepia(gray).mean([0, 2, 3]).array(of: Double.self)
        for (mean, row) in zip(means, rows) { #expect(abs(mean - 0.5 * row.reduce(0, +)) < 1e-6) }
    }

    @Test func sketchOfAPlainImageIsPaper() throws {
        for brightness in [0.1, 0.5, 0.9] {
            let paper = try Style.sketch(Tensor.full([1, 3, 32, 32], brightness))
            try expectClose(
                paper.mean([0, 2, 3]),
                try Tensor([0.96, 0.95, 0.92] as [Float], [3]),
                absolute: 1e-4
            )
            #expect(try (paper.max([2, 3]) - paper.min([2, 3])).max().item() < 1e-4)
        }
    }

    @Test func sketchDrawsDarkLines() throws {
        var wall = try Tensor.full([1, 3, 32, 32], 0.8)
        var line = try wall.sliced(3, 15..<17)
        try line.fill(with: 0.1)
        let drawn = try Style.sketch(wall)
        #expect(try drawn.sliced(3, 15..<17).max().item() < 0.3)
        #expect(try drawn.sliced(3, 0..<3).min().item() > 0.85)
        wall = drawn
    }

    @Test func neonGlowsOnlyAtEdges() throws {
        let flat = try Style.neon(Tensor.full([1, 3, 32, 32], 0.7))
        #expect(try flat.max().item() < 0.1)
        let edge = try concatenated(
            [Tensor.full([1, 3, 32, 16], 0.1), Tensor.full([1, 3, 32, 16], 0.9)],
            dim: 3
        )
        let lit = try Style.neon(edge)
        #expect(try lit.sliced(3, 15..<17).max().item() > 0.5)
        #expect(try lit.sliced(3, 0..<5).max().item() < 0.1)
    }

    @Test func comicBrightensDarkColors() throws {
        let dark = try Style.comic(Tensor.full([1, 3, 32, 32], 0.1))
        #expect(try dark.min().item() > 0.2)
        let bright = try Style.comic(Tensor.full([1, 3, 32, 32], 0.9))
        #expect(try bright.min().item() > 0.99)
    }

    @Test func thermalMapsBrightnessToColors() throws {
        let expected: [(Double, [Double])] = [
            (0, [0, 0, 0.2]), (0.25, [0.4, 0, 0.6]), (0.5, [0.85, 0.15, 0.35]),
            (0.625, [0.925, 0.375, 0.175]), (1, [1, 1, 0.8]),
        ]
        for (brightness, color) in expected {
            let mean = try Style.thermal(Tensor.full([1, 3, 16, 16], brightness)).mean([0, 2, 3])
            try expectClose(mean, try Tensor(color.map(Float.init), [3]), absolute: 1e-4)
        }
    }

    @Test func nightAppliesItsFormula() throws {
        let mean = try Style.night(Tensor.full([1, 3, 16, 16], 0.5)).mean([0, 2, 3])
        let light = pow(0.5, 1.3)
        let color = [0.24 * light, 0.4 * light + 0.02, 0.8 * light + 0.09]
        try expectClose(mean, try Tensor(color.map(Float.init), [3]), absolute: 1e-5)
    }

    @Test func pixelArtHasLargeSquaresOfFewColors() throws {
        let styled = try Style.pixelArt(scene(index: 5))
        let corners = try styled.reshaped(styled.size(0), 3, 8, 8, 8, 8)
        #expect(try (corners - corners.narrowed(3, 0, 1).narrowed(5, 0, 1)).abs().max().item() == 0)
        // Brightness is quantized: nearby values become equal.
        func gray(_ value: Double) throws -> Double {
            try Style.pixelArt(Tensor.full([1, 3, 8, 8], value)).mean().item()
        }
        #expect(try abs(gray(0.22) - 0.2) < 0.01)
        #expect(try abs(gray(0.26) - gray(0.22)) < 0.02)
        #expect(try abs(gray(0.38) - 0.4) < 0.02)
    }

    @Test func stylesAreDistinct() throws {
        let clips = try (0..<4).map { try scene(index: UInt64(10 + $0)) }
        for (position, style) in Style.bundled.enumerated() {
            for other in Style.bundled[(position + 1)...] {
                let distance =
                    try clips.map { clip in
                        try (style(clip) - other(clip)).abs().mean().item()
                    }.reduce(0, +) / 4
                #expect(distance > 0.03, "\(style) and \(other) differ by \(distance)")
            }
        }
    }

    @Test func refusesSizesThatSquaresDoNotFit() throws {
        #expect(throws: SwanError.self) { try Style.pixelArt(Tensor.ones([1, 3, 20, 24])) }
    }

    private func scene(index: UInt64) throws -> Tensor {
        try ClipMix(DataConfig(), seed: 9).clip(index: index, frames: 3, height: 64, width: 64)
    }
}

@Suite struct StyleCodingTests {
    @Test func readsBundledStylesByName() throws {
        #expect(try read(#"["sketch", "none"]"#) == [.sketch, .none])
        let text = String(decoding: try JSONEncoder().encode(Style.bundled), as: UTF8.self)
        #expect(text.hasPrefix(#"["none","sketch""#))
        #expect(try read(text) == Style.bundled)
    }

    @Test func readsACustomStyle() throws {
        let style = try read(
            """
            [{"name": "cyanotype", "phrasings": ["cyanotype", "blue print"], "filters":
              [{"blur": 1.5}, {"gamma": 1.2}, {"ramp": [[0, 0.1, 0.3], [1, 1, 1]]}, "comic"]}]
            """
        )[0]
        #expect(
            style.filters == [
                .blur(sigma: 1.5), .gamma(1.2), .ramp([[0, 0.1, 0.3], [1, 1, 1]]), .comic,
            ]
        )
        #expect(try style(Tensor.full([1, 3, 16, 16], 0.5)).shape == [1, 3, 16, 16])
        let again = String(decoding: try JSONEncoder().encode([style]), as: UTF8.self)
        #expect(try read(again) == [style])
    }

    @Test(arguments: [
        (#"["vapour"]"#, "vapour"),
        (#"[{"name": "a", "phrasings": ["a"], "filters": ["swirl"]}]"#, "swirl"),
        (#"[{"name": "a", "phrasings": ["a"], "filters": ["blur"]}]"#, "needs numbers"),
        (#"[{"name": "a", "phrasings": ["a"], "filters": [{"blur": 0}]}]"#, "blur"),
        (#"[{"name": "a", "phrasings": ["a"], "filters": [{"matrix": [[1, 2]]}]}]"#, "matrix"),
        (#"[{"name": "a", "phrasings": ["a"], "filters": [{"ramp": [[1, 2, 3]]}]}]"#, "ramp"),
        (#"[{"name": "a", "phrasings": ["a"], "filters": [{"comic": 1}]}]"#, "takes no numbers"),
        (#"[{"name": "a", "phrasings": [], "filters": ["comic"]}]"#, "phrasings"),
    ])
    func namesInvalidValues(text: String, word: String) {
        let error = #expect(throws: DecodingError.self) { try read(text) }
        guard case .dataCorrupted(let context) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(context.debugDescription.contains(word))
    }

    private func read(_ text: String) throws -> [Style] {
        try JSONDecoder().decode([Style].self, from: Data(text.utf8))
    }
}
