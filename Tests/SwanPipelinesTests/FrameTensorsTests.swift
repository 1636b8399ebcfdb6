import SwanMedia
import Testing
import Torch

@testable import SwanPipelines

struct FrameTensorsTests {
    /// A frame whose red channel is the column and whose green channel is the row.
    private func frame(width: Int, height: Int) -> VideoFrame {
        VideoFrame(width: width, height: height) { pixels in
            for row in 0..<height {
                for column in 0..<width {
                    let place = 3 * (row * width + column)
                    pixels[place] = UInt8(column)
                    pixels[place + 1] = UInt8(row)
                    pixels[place + 2] = 0
                }
            }
        }
    }

    /// The source columns and rows that the resized frame shows, from pixels [1, 3, 1, H, W].
    private func levels(
        _ frame: VideoFrame,
        _ height: Int,
        _ width: Int,
        _ fit: FrameFit,
        pixelAspect: Double = 1
    ) throws -> (columns: [Double], rows: [Double]) {
        let video = try tensor(
            of: [frame],
            height: height,
            width: width,
            fit: fit,
            pixelAspect: pixelAspect,
            dtype: .float32,
            device: .cpu
        )
        #expect(video.shape == [1, 3, 1, height, width])
        let levels = try ((video + 1) * 127.5).rounded().selected(0, 0).selected(1, 0)
        return (
            try levels.selected(0, 0).selected(0, 0).array(of: Double.self),
            try levels.selected(0, 1).selected(1, 0).array(of: Double.self)
        )
    }

    @Test func croppingTakesTheMiddle() throws {
        let wide = try levels(frame(width: 100, height: 40), 40, 40, .crop)
        #expect(wide.columns == (30..<70).map(Double.init))
        #expect(wide.rows == (0..<40).map(Double.init))
        let tall = try levels(frame(width: 30, height: 90), 20, 30, .crop)
        #expect(tall.columns == (0..<30).map(Double.init))
        #expect(tall.rows == (35..<55).map(Double.init))
    }

    @Test func croppingScalesThePartItKeeps() throws {
        let seen = try levels(frame(width: 200, height: 80), 40, 40, .crop)
        // Columns 60 to 139, two for each output column.
        #expect(abs(seen.columns[20] - 100.5) <= 1)
        #expect(seen.columns[0] >= 60 && seen.columns[39] <= 139)
        #expect(seen.rows[0] <= 1 && seen.rows[39] >= 78)
    }

    @Test func stretchingKeepsTheWholeFrame() throws {
        let seen = try levels(frame(width: 200, height: 80), 40, 40, .stretch)
        #expect(seen.columns[0] <= 3 && seen.columns[39] >= 196)
        #expect(seen.rows[0] <= 1 && seen.rows[39] >= 78)
    }

    @Test func paddingKeepsTheWholeFrameAndAddsBlack() throws {
        let wide = try levels(frame(width: 200, height: 80), 40, 40, .pad)
        // The middle column: 12 rows of black, 16 of the frame, 12 of black.
        #expect(wide.rows[..<12].allSatisfy { $0 == 0 } && wide.rows[28...].allSatisfy { $0 == 0 })
        #expect(wide.rows[12] <= 4 && wide.rows[27] >= 75)
        let tall = try levels(frame(width: 80, height: 200), 40, 40, .pad)
        #expect(tall.columns[..<12].allSatisfy { $0 == 0 })
        #expect(tall.columns[27] >= 75 && tall.columns[28...].allSatisfy { $0 == 0 })
    }

    /// Pixels twice as wide as high: half as many columns show the same picture.
    @Test func handlesNonSquarePixels() throws {
        let whole = try levels(frame(width: 100, height: 80), 40, 100, .crop, pixelAspect: 2)
        #expect(whole.columns[0] <= 1 && whole.columns[99] >= 98)
        #expect(whole.rows[0] <= 1 && whole.rows[39] >= 78)
        let middle = try levels(frame(width: 100, height: 80), 40, 40, .crop, pixelAspect: 2)
        #expect(middle.columns[0] >= 30 && middle.columns[39] <= 70)
    }

    @Test func thinFramesKeepAPixel() throws {
        #expect(try levels(frame(width: 200, height: 1), 32, 32, .crop).columns[0] == 99)
        #expect(try levels(frame(width: 1, height: 200), 32, 32, .crop).rows[0] == 99)
    }
}
