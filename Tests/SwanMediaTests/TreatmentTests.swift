import Foundation
import SwanMedia
import SwanSystem
import Testing

/// Frames that are not plain pictures: times, fields, transparency, high dynamic range.
@Suite struct TreatmentTests {
    @Test("a container keeps the time of each frame")
    func times() throws {
        let folder = try Folder()
        let times = [0, 0.1, 0.2, 0.7, 0.75, 1.5]
        for name in ["a.mp4", "a.mov", "a.mkv"] {
            let writer = try VideoWriter(
                path: folder.file(name),
                width: 32,
                height: 32,
                frameRate: try #require(Rational(4)),
                options: .init(varies: true)
            )
            #expect(writer.hasTimes)
            for (frame, time) in zip(try numbered(6, width: 32, height: 32), times) {
                try writer.append(frame, at: time)
            }
            try writer.finish()
            let reader = try VideoReader(path: folder.file(name))
            #expect(reader.info.varies, "\(name)")
            let found = try reader.frames().map(\.seconds)
            #expect(found.count == times.count)
            for (one, other) in zip(found, times) { #expect(abs(one - other) < 2e-3, "\(name)") }
        }
    }

    @Test("without varying times, gaps are kept to a frame, and times never go back")
    func gaps() throws {
        let folder = try Folder()
        let writer = try VideoWriter(
            path: folder.file("a.mkv"),
            width: 32,
            height: 32,
            frameRate: try #require(Rational(10))
        )
        let frames = try numbered(5, width: 32, height: 32)
        for (frame, time) in zip(frames, [0, 0.104, 0.5, 0.2, 1e9]) {
            try writer.append(frame, at: time)
        }
        try writer.finish()
        let found = try VideoReader(path: folder.file("a.mkv")).frames()
        #expect(found.map { ($0.seconds * 10).rounded() } == [0, 1, 5, 6, 7])
    }

    @Test("fields are made frames, one for each")
    func fields() throws {
        let folder = try Folder()
        // A bar that moves two pixels a field.
        let size = 64
        var bytes = Array("YUV4MPEG2 W\(size) H\(size) F25:1 It C420jpeg\n".utf8)
        for number in 0..<6 {
            bytes += Array("FRAME\n".utf8)
            for y in 0..<size {
                let left = 8 + 4 * number + 2 * (y % 2)
                bytes += (0..<size).map { (left..<left + 16).contains($0) ? 200 : 40 }
            }
            bytes += [UInt8](repeating: 128, count: size * size / 2)
        }
        let reader = try VideoReader(path: try folder.write(bytes, to: "a.y4m"))
        let frames = try reader.frames()
        #expect(frames.count == 6 && reader.treatment.isDeinterlaced)
        for (number, frame) in frames.enumerated() {
            #expect(abs(frame.seconds - Double(number) / 25) < 1e-6)
            // In one row as in the next: no combs.
            for x in 0..<size where (1..<5).contains(number) {
                #expect(
                    frame[x, 31].distance(to: frame[x, 32]) < 24,
                    "frame \(number), column \(x)"
                )
            }
        }
    }

    @Test("progressive frames are left as they are")
    func progressive() throws {
        let folder = try Folder()
        try write([try .noise(64, 48, seed: 1)], to: folder.file("a.mkv"))
        let reader = try VideoReader(path: folder.file("a.mkv"))
        #expect(try reader.frames().first?.pixels == VideoFrame.noise(64, 48, seed: 1).pixels)
        let treatment = reader.treatment
        #expect(!treatment.isDeinterlaced && !treatment.isToneMapped && !treatment.isBlended)
    }

    @Test("transparent parts become black")
    func transparency() throws {
        let folder = try Folder()
        var gif = Handmade.gif([(200, 10)])
        let control = try #require(gif.firstIndex(of: 0xF9))
        gif[control + 2] |= 1
        gif[control + 5] = 100
        let reader = try VideoReader(path: try folder.write(gif, to: "a.gif"))
        let frame = try #require(try reader.nextFrame())
        #expect(frame[4, 4] == Color(0, 0, 0))
        #expect(reader.treatment.isBlended)
    }

    @Test("PQ is mapped to BT.709")
    func highDynamicRange() throws {
        let folder = try Folder()
        let ramp = try VideoFrame.drawn(64, 32) { x, _ in Color(4 * x, 4 * x, 4 * x) }
        try write([ramp, ramp], to: folder.file("a.mkv"))
        var bytes = try folder.bytes(of: "a.mkv")
        // The elements TransferCharacteristics and Primaries of Matroska.
        for (element, value) in [(0xBA as UInt8, 16 as UInt8), (0xBB, 9)] {
            let at = try #require(
                bytes.indices.dropLast(3).first {
                    bytes[$0] == 0x55 && bytes[$0 + 1] == element && bytes[$0 + 2] == 0x81
                }
            )
            bytes[at + 3] = value
        }
        let reader = try VideoReader(path: try folder.write(bytes, to: "pq.mkv"))
        let frame = try #require(try reader.nextFrame())
        #expect(reader.treatment.isToneMapped && !reader.treatment.hasWrongTones)
        let grays = (0..<64).map { frame[$0, 16].green }
        #expect(zip(grays, grays.dropFirst()).allSatisfy { $0 <= $1 + 2 })
        // Paper white, 203 cd/m2, has the code 0.58; as an SDR code it would be 148.
        #expect(frame[37, 16].green > 165 && grays[63] > 240 && grays[0] < 12, "\(grays)")
    }
}
