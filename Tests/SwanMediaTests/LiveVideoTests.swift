import Foundation
import SwanSystem
import Testing

@testable import SwanMedia

/// H.264 in memory, for live video.
@Suite(.enabled(if: LiveVideoEncoder.isAvailable, "this FFmpeg has no libx264"))
struct LiveVideoTests {
    private static let (width, height) = (96, 64)

    /// A smooth picture that moves with its number.
    private func frame(_ number: Int, width: Int = width, height: Int = height) -> VideoFrame {
        VideoFrame(width: width, height: height) { target in
            for y in 0..<height {
                for x in 0..<width {
                    let at = 3 * (y * width + x)
                    target[at] = UInt8(128 + 100 * sin(Double(x + 2 * number) / 15))
                    target[at + 1] = UInt8(128 + 100 * cos(Double(y - number) / 12))
                    target[at + 2] = UInt8((x + y + number) % 200)
                }
            }
        }
    }

    private func encoder(_ bitsPerSecond: Int = 2_000_000) throws -> LiveVideoEncoder {
        try LiveVideoEncoder(
            width: Self.width,
            height: Self.height,
            framesPerSecond: 16,
            bitsPerSecond: bitsPerSecond
        )
    }

    /// The peak signal-to-noise ratio in dB.
    private func psnr(_ a: VideoFrame, _ b: VideoFrame) -> Double {
        let squares = zip(a.pixels, b.pixels).map { pow(Double($0) - Double($1), 2) }
        return 10 * log10(255 * 255 * Double(squares.count) / max(squares.reduce(0, +), 1e-9))
    }

    /// Every frame comes out at once, in order, and looks like the one that went in.
    @Test func oneInOneOut() throws {
        let (encoder, decoder) = (try encoder(), try LiveVideoDecoder(maxPixels: 100_000))
        for number in 0..<40 {
            let unit = try encoder.encode(frame(number))
            #expect(unit.isKeyFrame == (number == 0))
            #expect(LiveVideoDecoder.isKeyFrame(unit.bytes) == unit.isKeyFrame)
            let decoded = try decoder.decode(unit.bytes)
            #expect((decoded.width, decoded.height) == (Self.width, Self.height))
            #expect(psnr(decoded, frame(number)) > 30, "frame \(number)")
            #expect(psnr(decoded, frame(number)) > psnr(decoded, frame(number + 4)))
        }
    }

    @Test func keyFramesComeOnRequestAndStandAlone() throws {
        let encoder = try encoder()
        for number in 0..<12 {
            let unit = try encoder.encode(frame(number), asKeyFrame: number == 7)
            #expect(unit.isKeyFrame == [0, 7].contains(number))
            guard number == 7 else { continue }
            let decoder = try LiveVideoDecoder(maxPixels: 100_000)
            #expect(psnr(try decoder.decode(unit.bytes), frame(7)) > 30)
        }
    }

    /// Browsers choose a decoder by the profile, and wait for later frames unless the stream says that none is
    /// reordered.
    @Test func streamsAreConstrainedBaseline() throws {
        let unit = try encoder().encode(frame(0)).bytes
        let start = try #require(unit.indices.first { unit[$0...].starts(with: [0, 0, 1, 0x67]) })
        // profile_idc 66 with constraint_set1_flag.
        #expect(unit[start + 4] == 66 && unit[start + 5] & 0x40 != 0)
    }

    @Test func bitRatesAreKept() throws {
        func bytes(_ bitsPerSecond: Int) throws -> Int {
            let encoder = try encoder(bitsPerSecond)
            var generator = Noise()
            return try (0..<48).reduce(0) { sum, _ in
                let noise = VideoFrame(width: Self.width, height: Self.height) { target in
                    for at in target.indices { target[at] = generator.byte() }
                }
                return sum + (try encoder.encode(noise).bytes.count)
            }
        }
        let (low, high) = (try bytes(300_000), try bytes(1_200_000))
        // Three seconds of noise need all the bits that there are.
        #expect(low < 3 * 300_000 / 8 * 3 / 2 && high > 2 * low)
    }

    /// After an error, frames that refer to lost ones are refused until a key frame comes.
    @Test func damageIsRefusedUntilTheNextKeyFrame() throws {
        let encoder = try encoder()
        let units = try (0..<6).map { try encoder.encode(frame($0), asKeyFrame: $0 == 4) }
        let decoder = try LiveVideoDecoder(maxPixels: 100_000)
        #expect(throws: SwanError.self) { try decoder.decode(units[1].bytes) }
        _ = try decoder.decode(units[0].bytes)
        #expect(throws: SwanError.self) { try decoder.decode([0, 0, 1, 0x41, 1, 2, 3]) }
        let error = #expect(throws: SwanError.self) { try decoder.decode(units[1].bytes) }
        #expect(error?.code == .decoder && error?.message.contains("key frame") == true)
        try decoder.skip(units[4].bytes)
        #expect(psnr(try decoder.decode(units[5].bytes), frame(5)) > 30)
    }

    @Test func largeFramesAreRefused() throws {
        let decoder = try LiveVideoDecoder(maxPixels: Self.width * Self.height - 1)
        let unit = try encoder().encode(frame(0))
        let error = #expect(throws: SwanError.self) { try decoder.decode(unit.bytes) }
        #expect(error?.code == .tooLarge)
    }

    /// A stream may change its size at a key frame.
    @Test func sizesMayChange() throws {
        let decoder = try LiveVideoDecoder(maxPixels: 100_000)
        _ = try decoder.decode(encoder().encode(frame(0)).bytes)
        let larger = try LiveVideoEncoder(
            width: 160,
            height: 128,
            framesPerSecond: 16,
            bitsPerSecond: 2_000_000
        )
        let wide = frame(0, width: 160, height: 128)
        let decoded = try decoder.decode(larger.encode(wide).bytes)
        #expect((decoded.width, decoded.height) == (160, 128))
        #expect(psnr(decoded, wide) > 30)
    }

    @Test func garbageNeverCrashes() throws {
        let encoder = try encoder()
        let units = try (0..<8).map { try encoder.encode(frame($0), asKeyFrame: $0 == 4).bytes }
        let decoder = try LiveVideoDecoder(maxPixels: 100_000)
        var generator = Noise()
        var refused = 0
        for round in 0..<400 {
            var unit = units[round % units.count]
            switch round % 3 {
            case 0: unit = Array(unit.prefix(Int(generator.byte()) * unit.count / 255))
            case 1: unit = (0..<64).map { _ in generator.byte() }
            default:
                for _ in 0..<6 {
                    unit[Int.random(in: 4..<unit.count, using: &generator)] = generator.byte()
                }
            }
            do {
                let decoded = try decoder.decode(unit)
                #expect(decoded.width * decoded.height <= 100_000)
            } catch {
                refused += 1
            }
        }
        #expect(refused > 100)
        // It still works.
        #expect(psnr(try decoder.decode(units[0]), frame(0)) > 30)
    }

    @Test(arguments: [(95, 64), (96, 63), (0, 0), (20_000, 2)])
    func sizesThatCannotBeEncodedAreRefused(width: Int, height: Int) {
        let error = #expect(throws: SwanError.self) {
            try LiveVideoEncoder(
                width: width,
                height: height,
                framesPerSecond: 16,
                bitsPerSecond: 1_000_000
            )
        }
        #expect(error?.code == .unsupported)
    }

    @Test func framesOfAnotherSizeAreRefused() throws {
        let error = #expect(throws: SwanError.self) {
            try encoder().encode(frame(0, width: 32, height: 32))
        }
        #expect(error?.code == .invalidArgument)
    }
}

/// Bytes that look random, the same in every run.
private struct Noise: RandomNumberGenerator {
    private var state: UInt64 = 0x9E37_79B9_7F4A_7C15

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }

    mutating func byte() -> UInt8 { UInt8(truncatingIfNeeded: next() >> 20) }
}
