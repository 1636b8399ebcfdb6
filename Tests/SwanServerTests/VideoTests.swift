import Foundation
import SwanMedia
import Synchronization
import Testing

@testable import SwanPipelines
@testable import SwanServer

/// What a session does with H.264: what is encoded and dropped, and how frames are decoded that refer to others.
@Suite(.enabled(if: LiveVideoEncoder.isAvailable, "this FFmpeg has no libx264"))
struct VideoTests {
    private func frame(_ number: Int) -> VideoFrame {
        VideoFrame(width: 64, height: 64) { target in
            for at in target.indices { target[at] = UInt8((at / 3 + 5 * number) % 64 + 90) }
        }
    }

    // MARK: - Output

    private func chunk(_ index: Int) -> RestyledChunk {
        let frames = (0..<4).map { number in
            RestyledFrame(
                frame: frame(4 * index + number),
                sequence: UInt32(4 * index + number),
                captureTime: 0,
                arrival: .now
            )
        }
        return RestyledChunk(
            frames: frames,
            index: index,
            event: 0,
            seconds: StageSeconds(),
            latency: 0,
            isLate: false,
            usesBatch: false
        )
    }

    private func encoder(_ output: String) throws -> OutputEncoder {
        let text = "{\"type\": \"start\", \"output\": \"\(output)\"}"
        guard case .start(let start) = try ClientMessage(text) else {
            throw MessageError("no_start", text)
        }
        return OutputEncoder(start, framesPerSecond: 16)
    }

    /// The frames in an outbox, which is empty afterwards.
    private func frames(_ outbox: Outbox) async -> [OutputFrame] {
        var frames: [OutputFrame] = []
        while outbox.frameCount > 0, case .frame(let frame) = await outbox.next() {
            frames.append(frame)
        }
        return frames
    }

    /// A client that does not read loses whole chunks, before they are encoded: what it gets can be decoded.
    @Test func framesAreDroppedBeforeTheyAreEncoded() async throws {
        let (encoder, outbox) = (try encoder("h264"), Outbox(frameCapacity: 12))
        for index in 0..<5 { try encoder.send(chunk(index), to: outbox, []) }
        #expect(outbox.frameCount == 8 && outbox.droppedFrames == 12)
        var received = await frames(outbox)
        try encoder.send(chunk(5), to: outbox, [])
        received += await frames(outbox)
        #expect(received.map(\.header.sequence) == Array(0..<8) + Array(20..<24))
        #expect(received.map(\.header.isKeyFrame) == [true] + Array(repeating: false, count: 11))
        let decoder = try LiveVideoDecoder(maxPixels: 10_000)
        for frame in received { _ = try decoder.decode(frame.picture) }
    }

    @Test func newClientsAndRequestsGetKeyFrames() async throws {
        let (encoder, first, second) = (
            try encoder("h264"), Outbox(frameCapacity: 12), Outbox(frameCapacity: 12)
        )
        try encoder.send(chunk(0), to: first, [])
        try encoder.send(chunk(1), to: second, [])
        #expect(await frames(second).map(\.header.isKeyFrame) == [true, false, false, false])
        encoder.requestKeyFrame()
        try encoder.send(chunk(2), to: second, [])
        #expect(await frames(second).map(\.header.isKeyFrame) == [true, false, false, false])
        // Nobody is connected.
        try encoder.send(chunk(3), to: nil, [])
    }

    @Test func watchersOfVideoGetPictures() async throws {
        let (encoder, client, watcher) = (
            try encoder("h264"), Outbox(frameCapacity: 12), Outbox(frameCapacity: 4)
        )
        try encoder.send(chunk(0), to: client, [watcher])
        #expect(await frames(client).map(\.header.codec) == Array(repeating: .h264, count: 4))
        #expect(await frames(watcher).map(\.header.codec) == Array(repeating: .jpeg, count: 4))
    }

    @Test(arguments: [("auto", FrameHeader.Codec.h264), ("jpeg", .jpeg), ("png", .png)])
    func onlyAutoChangesToVideoOnSlowNetworks(output: String, last: FrameHeader.Codec) async throws
    {
        let (encoder, outbox) = (try encoder(output), Outbox(frameCapacity: 4))
        try encoder.send(chunk(0), to: outbox, [])
        #expect(await frames(outbox).first?.header.codec == (output == "png" ? .png : .jpeg))
        // A client that reads nothing.
        for index in 1..<5 { try encoder.send(chunk(index), to: outbox, []) }
        _ = await frames(outbox)
        try encoder.send(chunk(5), to: outbox, [])
        #expect(await frames(outbox).first?.header.codec == last)
    }

    @Test func sizesOfVideoAreChecked() throws {
        try OutputEncoder.check(.h264, width: 64, height: 64)
        try OutputEncoder.check(.jpeg, width: 63, height: 64)
        #expect(throws: (any Error).self) {
            try OutputEncoder.check(.h264, width: 63, height: 64)
        }
    }

    // MARK: - Input

    private func units(_ count: Int, keys: Set<Int> = [0]) throws -> [[UInt8]] {
        let encoder = try LiveVideoEncoder(
            width: 64,
            height: 64,
            framesPerSecond: 16,
            bitsPerSecond: 1_000_000
        )
        return try (0..<count).map {
            try encoder.encode(frame($0), asKeyFrame: keys.contains($0)).bytes
        }
    }

    private func error(_ a: VideoFrame, _ b: VideoFrame) -> Int {
        zip(a.pixels, b.pixels).reduce(0) { $0 + abs(Int($1.0) - Int($1.1)) } / a.pixels.count
    }

    /// The stream takes only some frames; those are right, because the others are decoded too.
    @Test func framesThatAreNotTakenAreDecodedToo() throws {
        let input = VideoInput(maxPixels: 10_000)
        let requests = Mutex(0)
        let decode = try units(12).map { unit in
            input.add(unit) { requests.withLock { $0 += 1 } }
        }
        for number in [3, 4, 11] {
            #expect(error(try decode[number](), frame(number)) < 4, "frame \(number)")
        }
        #expect(requests.withLock { $0 } == 0)
    }

    /// After a gap, frames are refused and a key frame is asked for, once in half a second.
    @Test func gapsNeedAKeyFrame() throws {
        let input = VideoInput(maxPixels: 10_000)
        let requests = Mutex(0)
        let units = try units(8, keys: [0, 6])
        func decode(_ number: Int) throws -> VideoFrame {
            try input.add(units[number]) { requests.withLock { $0 += 1 } }()
        }
        _ = try decode(0)
        input.skip()
        for number in 2..<6 { #expect(throws: (any Error).self) { try decode(number) } }
        #expect(requests.withLock { $0 } == 1)
        for number in [6, 7] { #expect(error(try decode(number), frame(number)) < 4) }
    }

    /// A client that sends far too much loses its frames, not the server's memory.
    @Test func whatWaitsIsBounded() throws {
        let input = VideoInput(maxPixels: 10_000)
        let requests = Mutex(0)
        let decode = (0..<6).map { _ in
            input.add(Array(repeating: 0, count: 4 << 20)) { requests.withLock { $0 += 1 } }
        }
        #expect(requests.withLock { $0 } == 1)
        #expect(throws: (any Error).self) { try decode[0]() }
        #expect(throws: (any Error).self) { try decode[5]() }
    }

    @Test func largeVideoIsRefused() throws {
        let encoder = try LiveVideoEncoder(
            width: 2_048,
            height: 1_200,
            framesPerSecond: 1,
            bitsPerSecond: 1_000_000
        )
        let large = VideoFrame(width: 2_048, height: 1_200) { target in
            target.initializeMemory(as: UInt8.self, repeating: 128)
        }
        let unit = try encoder.encode(large).bytes
        #expect(throws: (any Error).self) {
            try VideoInput(maxPixels: 1 << 30).add(unit, requestKeyFrame: {})()
        }
    }
}
