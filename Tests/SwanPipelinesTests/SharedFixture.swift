import Foundation
import ModelSupport
import GoldenSupport
import SwanCheckpoints
import SwanMedia
import SwanSystem
import Testing
import Torch

@testable import SwanPipelines

/// A small model with random weights, and clips for streams that share it.
struct SharedFixture {
    let model: StreamModel

    init() throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder.url.path)
        model = try StreamModel.load(folder.url.path, dtype: .float32, device: .cpu)
    }

    /// A stream with its own settings that joins after `start` rounds and gets a chunk per round.
    struct Script {
        let prompt: String
        var steps = 2
        var streamBatch = true
        var seed: UInt64 = 0
        var start = 0
        var chunks = 6
        var height = 48
    }

    func options(_ script: Script) throws -> StreamOptions {
        var settings = StreamSettings()
        (settings.steps, settings.streamBatch) = (script.steps, script.streamBatch)
        (settings.seed, settings.height, settings.width) = (script.seed, script.height, 64)
        return try StreamOptions(model.configuration, settings)
    }

    func join(
        _ host: SharedStreams,
        _ script: Script,
        _ collector: Collector,
        configure: (inout SharedStreamRequest) -> Void = { _ in }
    ) throws -> SharedStream {
        var request = SharedStreamRequest(
            prompts: [.init(script.prompt)],
            options: try options(script),
            // So slow that a busy machine is not late.
            framesPerSecond: 1
        )
        configure(&request)
        return try host.join(request, report: collector.add).stream
    }

    /// The first chunk has five frames, the others four.
    func clip(_ chunks: Int, seed: UInt64) throws -> [VideoFrame] {
        try (0..<(4 * chunks + 1)).map { index in
            let shade = UInt8(truncatingIfNeeded: 9 * index + Int(31 * seed))
            let pixels = (0..<64 * 48 * 3).map { UInt8(truncatingIfNeeded: $0 / 3) ^ shade }
            return try VideoFrame(width: 64, height: 48, pixels: pixels)
        }
    }

    func frames(of clip: [VideoFrame], chunk: Int) -> ArraySlice<VideoFrame> {
        chunk == 0 ? clip[0..<5] : clip[(4 * chunk + 1)..<(4 * chunk + 5)]
    }

    func put(
        _ frames: ArraySlice<VideoFrame>,
        into stream: SharedStream,
        of host: SharedStreams
    ) async throws {
        while !host.isIdle(stream) { try await Task.sleep(for: .milliseconds(1)) }
        for (index, frame) in zip(frames.indices, frames) {
            stream.put(SharedFrame(sequence: UInt32(index)) { frame })
        }
    }

    /// Waits until all complete chunks and all changes of a stream are on their way.
    func wait(for stream: SharedStream, of host: SharedStreams) async throws {
        while !host.isIdle(stream) { try await Task.sleep(for: .milliseconds(1)) }
    }

    /// Restyles a whole clip, a chunk at a time, calling `before` before each chunk.
    func restyle(
        _ clip: [VideoFrame],
        by stream: SharedStream,
        of host: SharedStreams,
        before: (Int) -> Void = { _ in }
    ) async throws {
        for chunk in 0..<(clip.count / 4) {
            try await wait(for: stream, of: host)
            before(chunk)
            try await wait(for: stream, of: host)
            try await put(frames(of: clip, chunk: chunk), into: stream, of: host)
        }
        stream.finish()
    }

    func alone(_ script: Script, _ clip: [VideoFrame]) throws -> [VideoFrame] {
        let stream = try VideoStream(model, prompt: script.prompt, options: options(script))
        var out: [VideoFrame] = []
        for frame in clip { out += try stream.push(frame) }
        return try out + stream.finish()
    }

    /// Values near a half may be rounded to either side.
    func expectSame(_ a: [VideoFrame], _ b: [VideoFrame], _ what: String) {
        #expect(a.count == b.count, "\(what)")
        for (index, (a, b)) in zip(a, b).enumerated() {
            let differences = zip(a.pixels, b.pixels).map { abs(Int($0) - Int($1)) }
            let most = differences.max() ?? 255
            #expect(most <= 1, "\(what), frame \(index): \(most)")
        }
    }
}

/// What a stream reports.
final class Collector: @unchecked Sendable {
    struct Applied: Equatable {
        let event: UInt32
        let chunk: Int
    }

    private let lock = NSLock()
    // Protected by `lock`.
    private var reports: [SharedStreamReport] = []

    func add(_ report: SharedStreamReport) { lock.withLock { reports.append(report) } }

    private var all: [SharedStreamReport] { lock.withLock { reports } }

    var chunks: [RestyledChunk] {
        all.compactMap { if case .chunk(let chunk) = $0 { chunk } else { nil } }
    }
    var frames: [RestyledFrame] { chunks.flatMap(\.frames) }
    var usesBatch: [Bool] { chunks.map(\.usesBatch) }
    var chunkEvents: [UInt32] { chunks.map(\.event) }
    var applied: [Applied] {
        all.compactMap {
            if case .applied(let event, let chunk, _) = $0 {
                Applied(event: event, chunk: chunk)
            } else {
                nil
            }
        }
    }
    var refused: [UInt32] {
        all.compactMap { if case .refused(let event, _) = $0 { event } else { nil } }
    }
    var skipped: [UInt32] {
        all.compactMap { if case .skipped(let sequence, _) = $0 { sequence } else { nil } }
    }

    /// Waits for the error with which the stream ends.
    func waitForFailure() async throws -> SwanError {
        do {
            try await waitForEnd()
        } catch let error as SwanError {
            return error
        }
        throw SwanError(.invalidArgument, "the stream ended without an error")
    }

    /// Waits until the stream has ended; throws its error.
    func waitForEnd() async throws {
        while true {
            for case .ended(let error) in all {
                if let error { throw error }
                return
            }
            try await Task.sleep(for: .milliseconds(2))
        }
    }
}
