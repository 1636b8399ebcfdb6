import Foundation
import SwanSystem

/// A number in a picture, which survives scaling, compression and a model: 4 by 4 cells, each bright or dark.
///
/// The first two cells are bright and dark, as a scale for the others. Seven cells hold the number in a Gray
/// code, so that few cells change from frame to frame; four hold a check sum, and three are constant.
enum FrameCounter {
    /// The number of different numbers.
    static let count = 128
    /// The number of cells of a row and of a column.
    static let side = 4
    /// Bright and dark in luma.
    private static let levels: (bright: UInt8, dark: UInt8) = (215, 40)
    private static let numberBits = 7, checkBits = 4
    private static let constant = [false, true, false]
    /// The least difference between bright and dark that can be told apart from noise.
    private static let contrast = 40.0

    /// The cells of a number, in rows from the top; true for bright.
    static func cells(_ number: Int) -> [Bool] {
        let code = number ^ (number >> 1)
        return [true, false] + bits(code, numberBits) + bits(check(number), checkBits) + constant
    }

    /// The number in the measured brightness of the cells; nil if there is none.
    static func number(in levels: [Double]) -> Int? {
        guard levels.count == side * side, levels[0] - levels[1] > contrast else { return nil }
        let cells = levels.map { $0 > (levels[0] + levels[1]) / 2 }
        let code = value(cells[2..<2 + numberBits])
        let number = [1, 2, 4].reduce(code) { $0 ^ ($0 >> $1) }
        let rest = cells[(2 + numberBits)...]
        guard value(rest.prefix(checkBits)) == check(number),
            Array(rest.dropFirst(checkBits)) == constant
        else { return nil }
        return number
    }

    private static func check(_ number: Int) -> Int { (5 * number + 3) % (1 << checkBits) }

    private static func bits(_ number: Int, _ count: Int) -> [Bool] {
        (0..<count).map { number >> $0 & 1 == 1 }
    }

    private static func value(_ bits: some Collection<Bool>) -> Int {
        bits.reversed().reduce(0) { $0 << 1 | ($1 ? 1 : 0) }
    }

    // MARK: - As a camera

    /// Writes a video in YUV4MPEG2 that counts through all numbers, for a browser to use as its camera.
    ///
    /// - Parameters:
    ///   - width: A multiple of 8, as is the height.
    ///   - framesPerSecond: Chromium presents frames of this format at the rate of the file.
    static func writeCamera(
        _ path: String,
        width: Int,
        height: Int,
        framesPerSecond: Int
    ) throws {
        guard FileManager.default.createFile(atPath: path, contents: nil),
            let file = FileHandle(forWritingAtPath: path)
        else { throw SwanError(.cannotWrite, "\(path): the file cannot be created") }
        let head = "YUV4MPEG2 W\(width) H\(height) F\(framesPerSecond):1 Ip A1:1 C420\n"
        try file.write(contentsOf: Data(head.utf8))
        let chroma = Data(repeating: 128, count: width * height / 2)
        for number in 0..<count {
            try file.write(contentsOf: Data("FRAME\n".utf8))
            try file.write(contentsOf: luma(number, width: width, height: height))
            try file.write(contentsOf: chroma)
        }
        try file.close()
    }

    private static func luma(_ number: Int, width: Int, height: Int) -> Data {
        let cells = cells(number)
        var picture = Data(capacity: width * height)
        for row in 0..<side {
            var line = Data(capacity: width)
            for column in 0..<side {
                let level = cells[row * side + column] ? levels.bright : levels.dark
                line.append(contentsOf: repeatElement(level, count: width / side))
            }
            for _ in 0..<height / side { picture.append(line) }
        }
        return picture
    }
}
