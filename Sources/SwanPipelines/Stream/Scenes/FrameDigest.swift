import SwanMedia

/// A frame's colors on a coarse grid: enough to compare scenes, too little to see noise.
struct FrameDigest: Sendable {
    /// The cells along each side.
    static let side = 24
    /// The samples along each side of a cell, at most.
    private static let samples = 6
    /// The largest shift between two frames that `shiftedCorrelation` looks for, in cells.
    private static let reach = 4

    /// The mean red, green and blue of each cell, row by row, in 8-bit levels.
    let cells: [Float]

    init(cells: [Float]) { self.cells = cells }

    init(_ frame: VideoFrame) {
        let side = Self.side
        let columns = Self.positions(frame.width)
        let rows = Self.positions(frame.height)
        var cells = [Float](repeating: 0, count: 3 * side * side)
        frame.withUnsafeBytes { pixels in
            for (row, lines) in rows.enumerated() {
                for (column, points) in columns.enumerated() {
                    var (red, green, blue) = (0, 0, 0)
                    for line in lines {
                        for point in points {
                            let place = 3 * (line * frame.width + point)
                            red += Int(pixels[place])
                            green += Int(pixels[place + 1])
                            blue += Int(pixels[place + 2])
                        }
                    }
                    let count = Float(lines.count * points.count)
                    let cell = 3 * (row * side + column)
                    cells[cell] = Float(red) / count
                    cells[cell + 1] = Float(green) / count
                    cells[cell + 2] = Float(blue) / count
                }
            }
        }
        self.cells = cells
    }

    /// The sampled places of each cell along a side of `length` pixels.
    private static func positions(_ length: Int) -> [[Int]] {
        (0..<side).map { cell in
            let start = cell * length / side
            let end = max(start + 1, (cell + 1) * length / side)
            let step = max(1, (end - start) / samples)
            return Array(stride(from: min(start, length - 1), to: min(end, length), by: step))
        }
    }

    /// The mean difference to another frame, in levels.
    func difference(to other: FrameDigest) -> Float {
        var sum: Float = 0
        for (a, b) in zip(cells, other.cells) { sum += abs(a - b) }
        return sum / Float(cells.count)
    }

    /// How much the picture varies: the standard deviation from each color's mean, in levels.
    var contrast: Float {
        let means = mean(rows: 0..<Self.side, columns: 0..<Self.side)
        var sum: Float = 0
        for (index, value) in cells.enumerated() {
            let deviation = value - means[index % 3]
            sum += deviation * deviation
        }
        return (sum / Float(cells.count)).squareRoot()
    }

    /// The largest correlation with another frame over small shifts, at most 1.
    func shiftedCorrelation(with other: FrameDigest) -> Float {
        var best: Float = -1
        for down in -Self.reach...Self.reach {
            for right in -Self.reach...Self.reach {
                best = max(best, correlation(with: other, down, right))
            }
        }
        return best
    }

    /// The correlation with another frame, shifted by cells, at most 1; brightness and contrast do not
    /// change it.
    func correlation(
        with other: FrameDigest,
        _ down: Int = 0,
        _ right: Int = 0
    ) -> Float {
        let side = Self.side
        let rows = max(0, down)..<side + min(0, down)
        let columns = max(0, right)..<side + min(0, right)
        let own = mean(rows: rows, columns: columns)
        let others = other.mean(
            rows: rows.lowerBound - down..<rows.upperBound - down,
            columns: columns.lowerBound - right..<columns.upperBound - right
        )
        let offset = 3 * (down * side + right)
        var (product, first, second): (Float, Float, Float) = (0, 0, 0)
        cells.withUnsafeBufferPointer { cells in
            other.cells.withUnsafeBufferPointer { moved in
                for row in rows {
                    for column in columns {
                        let place = 3 * (row * side + column)
                        for color in 0..<3 {
                            let a = cells[place + color] - own[color]
                            let b = moved[place + color - offset] - others[color]
                            product += a * b
                            first += a * a
                            second += b * b
                        }
                    }
                }
            }
        }
        let scale = (first * second).squareRoot()
        return scale > 0 ? product / scale : -1
    }

    /// The mean color of a part.
    private func mean(rows: Range<Int>, columns: Range<Int>) -> [Float] {
        var sums: [Float] = [0, 0, 0]
        for row in rows {
            for column in columns {
                let place = 3 * (row * Self.side + column)
                for color in 0..<3 { sums[color] += cells[place + color] }
            }
        }
        let count = Float(max(1, rows.count * columns.count))
        return sums.map { $0 / count }
    }
}
