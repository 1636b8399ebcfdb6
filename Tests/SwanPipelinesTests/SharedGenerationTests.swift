import Foundation
import GoldenSupport
import ModelSupport
import SwanMedia
import SwanSystem
import Testing
import Torch

@testable import SwanPipelines

/// Shared streams without an input.
@Suite(.timeLimit(.minutes(5))) struct SharedGenerationTests {
    /// A model that starts from noise.
    private func model() throws -> StreamModel {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder.url.path)
        let file = folder.url.appendingPathComponent("stream.yaml")
        let text = try String(contentsOf: file, encoding: .utf8)
            .replacing("[300, 150, 0]", with: "[1000, 600, 0]")
        try text.write(to: file, atomically: true, encoding: .utf8)
        return try StreamModel.load(folder.url.path, dtype: .float32, device: .cpu)
    }

    @Test func chunksComeFromNoise() async throws {
        let (model, fixture) = (try model(), try SharedFixture())
        #expect(!model.needsInput && fixture.model.needsInput)
        let host = try SharedStreams(model)
        defer { host.close() }
        let collector = Collector()
        var request = SharedStreamRequest(
            prompts: [.init("the city at night")],
            options: StreamOptions(model.configuration),
            framesPerSecond: 16
        )
        request.generates = true
        let stream = try host.join(request, report: collector.add).stream
        let chunks = 5
        for _ in 0..<chunks {
            stream.generate()
            try await fixture.wait(for: stream, of: host)
        }
        stream.finish()
        try await collector.waitForEnd()
        let alone = try VideoStream(model, prompt: "the city at night", options: request.options)
        var expected: [VideoFrame] = []
        while expected.count < 4 * chunks - 3 { expected += try alone.generate() }
        fixture.expectSame(collector.frames.map(\.frame), expected, "from noise")
        let sequences = collector.frames.map(\.sequence)
        #expect(sequences == (0..<UInt32(4 * chunks - 3)).map { $0 })
        #expect(!collector.frames.contains { Set($0.frame.pixels).count < 8 })
    }

    /// A session's shots are those of a stream alone.
    @Test func shotsAreThoseOfAStreamAlone() async throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder.url.path)
        let file = folder.url.appendingPathComponent("stream.yaml")
        let text = try String(contentsOf: file, encoding: .utf8)
            .replacing("[300, 150, 0]", with: "[1000, 600, 0]")
        try (text + "context_noise: 0\nshot_frames: 3\n")
            .write(to: file, atomically: true, encoding: .utf8)
        let model = try StreamModel.load(folder.url.path, dtype: .float32, device: .cpu)
        let host = try SharedStreams(model)
        defer { host.close() }
        let (collector, fixture) = (Collector(), try SharedFixture())
        var request = SharedStreamRequest(
            prompts: [.init("the city at night")],
            options: StreamOptions(model.configuration),
            framesPerSecond: 16
        )
        request.generates = true
        let stream = try host.join(request, report: collector.add).stream
        for _ in 0..<7 {
            stream.generate()
            try await fixture.wait(for: stream, of: host)
        }
        stream.finish()
        try await collector.waitForEnd()
        let alone = try VideoStream(model, prompt: "the city at night", options: request.options)
        // Shots of 1 + 4 + 4 frames, and the first chunk of the third.
        var expected: [VideoFrame] = []
        while expected.count < 19 { expected += try alone.generate() }
        #expect(expected.count == 19)
        fixture.expectSame(collector.frames.map(\.frame), expected, "shots")
        let sequences = collector.frames.map(\.sequence)
        #expect(sequences == (0..<19).map { UInt32($0) })
    }

    @Test func modelsThatRestyleNeedAnInput() throws {
        let fixture = try SharedFixture()
        let host = try SharedStreams(fixture.model)
        defer { host.close() }
        let error = #expect(throws: SwanError.self) {
            try fixture.join(host, .init(prompt: "sepia"), Collector()) { $0.generates = true }
        }
        #expect(error?.code == .invalidRequest && host.count == 0)
    }
}
