import Foundation
import ModelSupport
import SwanMedia
import SwanModels
import SwanSystem
import Synchronization
import Testing
import Torch

@testable import SwanPipelines

/// Streams that fail, race or overload the host do not harm the others.
@Suite(.timeLimit(.minutes(5))) struct SharedFaultTests {
    private let fixture: SharedFixture

    init() throws { fixture = try SharedFixture() }

    /// Runs two streams of which the second fails in a pass of its fourth chunk; returns its error.
    private func failing(
        _ forward:
            @escaping @Sendable (CausalWanTransformer, [DenoisingWork], Bool, inout KVCachePool)
            throws(SwanError) -> [Tensor]
    ) async throws -> SwanError {
        let script = SharedFixture.Script(prompt: "a pencil sketch", seed: 1, chunks: 8)
        let transformer = fixture.model.transformer
        let host = try SharedStreams(fixture.model) { works, streams, cache throws(SwanError) in
            let ill = zip(streams, works).contains { $0 == 2 && ($1.firstFrames.first ?? 0) >= 4 }
            return try forward(transformer, works, ill, &cache)
        }
        defer { host.close() }
        let clip = try fixture.clip(script.chunks, seed: 1)
        let (well, ill) = (Collector(), Collector())
        let stream = try fixture.join(host, script, well)
        let other = try fixture.join(host, .init(prompt: "sepia", seed: 2), ill)
        for chunk in 0..<script.chunks {
            for stream in [stream, other] {
                try await fixture.put(
                    fixture.frames(of: clip, chunk: chunk),
                    into: stream,
                    of: host
                )
            }
        }
        stream.finish()
        try await well.waitForEnd()
        try fixture.expectSame(
            well.frames.map(\.frame),
            fixture.alone(script, clip),
            "beside a failure"
        )
        let error = try await ill.waitForFailure()
        #expect(host.count == 0 && !ill.frames.isEmpty)
        return error
    }

    @Test func onlyTheStreamWithoutMemoryEnds() async throws {
        let error = try await failing { transformer, works, isIll, cache throws(SwanError) in
            if isIll { throw SwanError(.outOfMemory, "not enough memory") }
            return try transformer(works, cache: &cache)
        }
        #expect(error.code == .outOfMemory)
    }

    @Test func onlyTheStreamWithNaNEnds() async throws {
        let error = try await failing { transformer, works, isIll, cache throws(SwanError) in
            let flows = try transformer(works, cache: &cache)
            guard isIll, let last = flows.last else { return flows }
            return flows.dropLast() + [try last * Double.nan]
        }
        #expect(error.code == .invalidWeights && error.message.contains("not finite"))
    }

    // MARK: - Turns

    /// The order of passes: the numbers of the streams of each.
    private final class Passes: Sendable {
        private let ran = Mutex<[[Int]]>([])
        func add(_ streams: [Int]) { ran.withLock { $0.append(streams) } }
        var all: [[Int]] { ran.withLock { $0 } }
    }

    /// While a pass runs, chunks of two other sizes arrive, the later one of them due first.
    @Test func theEarliestDeadlineIsFirst() async throws {
        let passes = Passes()
        let gate = DispatchSemaphore(value: 0)
        let transformer = fixture.model.transformer
        let host = try SharedStreams(fixture.model) { works, streams, cache throws(SwanError) in
            passes.add(streams)
            if streams == [1] { gate.wait() }
            return try transformer(works, cache: &cache)
        }
        defer { host.close() }
        let collectors = (0..<3).map { _ in Collector() }
        let streams = try [16, 32, 48].enumerated().map { index, height in
            try fixture.join(
                host,
                .init(prompt: "sepia", steps: 1, height: height),
                collectors[index]
            )
        }
        let frame = try fixture.clip(1, seed: 1)[0]
        let now = ContinuousClock.now
        for (index, age) in [0, 1, 5].enumerated() {
            for number in 0..<5 {
                let arrival = now - .seconds(age)
                let sequence = UInt32(number)
                streams[index].put(SharedFrame(sequence: sequence, arrival: arrival) { frame })
            }
            while index == 0, passes.all.isEmpty { try await Task.sleep(for: .milliseconds(1)) }
            while index > 0, !isEncoded(streams[index], host) {
                try await Task.sleep(for: .milliseconds(1))
            }
        }
        gate.signal()
        for stream in streams { stream.finish() }
        for collector in collectors { try await collector.waitForEnd() }
        #expect(passes.all == [[1], [3], [2]])
    }

    private func isEncoded(_ stream: SharedStream, _ host: SharedStreams) -> Bool {
        host.condition.withLock { host.streams[stream.id]?.noised != nil }
    }

    /// A stream that never stops sending, at a higher rate, does not keep another size from its turn.
    @Test func noSizeStarves() async throws {
        let passes = Passes()
        let transformer = fixture.model.transformer
        let host = try SharedStreams(fixture.model) { works, streams, cache throws(SwanError) in
            passes.add(streams)
            return try transformer(works, cache: &cache)
        }
        defer { host.close() }
        let frame = try fixture.clip(1, seed: 1)[0]
        let greedy = try fixture.join(host, .init(prompt: "sepia", height: 48), Collector()) {
            $0.framesPerSecond = 120
        }
        let flood = Task {
            var sequence: UInt32 = 0
            while !Task.isCancelled, greedy.put(SharedFrame(sequence: sequence) { frame }) {
                sequence += 1
                if sequence % 8 == 0 { try await Task.sleep(for: .microseconds(200)) }
            }
        }
        let script = SharedFixture.Script(prompt: "night", seed: 3, chunks: 6, height: 32)
        let collector = Collector()
        let modest = try fixture.join(host, script, collector) { $0.framesPerSecond = 1 }
        let clip = try fixture.clip(script.chunks, seed: 3)
        try await fixture.restyle(clip, by: modest, of: host)
        try await collector.waitForEnd()
        flood.cancel()
        try fixture.expectSame(
            collector.frames.map(\.frame),
            fixture.alone(script, clip),
            "beside a flood"
        )
        #expect(passes.all.contains([1]) && passes.all.contains([2]))
    }

    // MARK: - Races

    /// A hundred changes that race with chunks: they apply in order, the last one wins, and every chunk has
    /// the text of the newest change that was applied before it.
    @Test func changesRaceWithChunks() async throws {
        let host = try SharedStreams(fixture.model)
        defer { host.close() }
        let chunks = 40
        let clip = try fixture.clip(chunks, seed: 1)
        let collector = Collector()
        let stream = try fixture.join(
            host,
            .init(prompt: "a pencil sketch", chunks: chunks),
            collector
        )
        let prompts = ["neon edges", "the city at night", "sepia"]
        let changes = Task.detached {
            for event in 1...100 {
                var change = StreamChange()
                change.event = UInt32(event)
                change.prompts = [.init(prompts[event % prompts.count])]
                if event % 7 == 0 { change.noiseScale = Double(event) / 200 }
                if event == 50 { change.steps = 99 }
                stream.change(change)
                try await Task.sleep(for: .milliseconds(1))
            }
        }
        for chunk in 0..<chunks {
            // The last chunk comes after the last change.
            if chunk == chunks - 1 { try await changes.value }
            try await fixture.put(fixture.frames(of: clip, chunk: chunk), into: stream, of: host)
        }
        stream.finish()
        try await collector.waitForEnd()
        let events = collector.applied.map(\.event)
        #expect(events == events.sorted() && Set(events).count == events.count)
        #expect(events.last == 100 && !events.contains(50) && collector.refused == [50])
        for chunk in collector.chunks {
            let newest = collector.applied.last { $0.chunk <= chunk.index }?.event ?? 0
            #expect(chunk.event == newest, "chunk \(chunk.index)")
        }
        #expect(collector.frames.map(\.sequence) == (0..<UInt32(clip.count)).map { $0 })
    }

    // MARK: - All frames

    @Test func aStreamCanKeepAllFrames() async throws {
        let host = try SharedStreams(fixture.model)
        defer { host.close() }
        let collector = Collector()
        let script = SharedFixture.Script(prompt: "sepia", seed: 1, chunks: 9)
        let stream = try fixture.join(host, script, collector) { $0.dropsFrames = false }
        let clip = try fixture.clip(script.chunks, seed: 1)
        for (index, frame) in clip.enumerated() {
            stream.put(SharedFrame(sequence: UInt32(index)) { frame })
        }
        #expect(stream.counts.dropped == 0)
        stream.finish()
        try await collector.waitForEnd()
        try fixture.expectSame(
            collector.frames.map(\.frame),
            fixture.alone(script, clip),
            "all frames"
        )
    }
}
