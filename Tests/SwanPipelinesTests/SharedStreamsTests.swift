import Foundation
import GoldenSupport
import ModelSupport
import SwanCheckpoints
import SwanMedia
import SwanSystem
import Testing
import Torch

@testable import SwanPipelines

/// Streams of several users on one model.
@Suite(.timeLimit(.minutes(5))) struct SharedStreamsTests {
    private let fixture: SharedFixture

    private typealias Script = SharedFixture.Script
    private var model: StreamModel { fixture.model }

    init() throws { fixture = try SharedFixture() }

    // MARK: - Company

    @Test func streamsDoNotDependOnCompany() async throws {
        let scripts = [
            Script(prompt: "a pencil sketch", seed: 1, chunks: 7),
            Script(prompt: "neon edges", steps: 1, seed: 2, start: 1, chunks: 4),
            Script(prompt: "at night", streamBatch: false, seed: 3, start: 2, chunks: 5),
            Script(prompt: "sepia", seed: 4, start: 3, chunks: 4, height: 32),
            // Uses the rows that the second stream has left.
            Script(prompt: "comic", steps: 1, seed: 5, start: 6, chunks: 3),
        ]
        let host = try SharedStreams(model)
        defer { host.close() }
        let clips = try scripts.map { try fixture.clip($0.chunks, seed: $0.seed) }
        let collectors = scripts.map { _ in Collector() }
        var streams: [Int: SharedStream] = [:]
        for round in 0..<10 {
            for (index, script) in scripts.enumerated() {
                let chunk = round - script.start
                if chunk == 0 { streams[index] = try fixture.join(host, script, collectors[index]) }
                guard let stream = streams[index], chunk >= 0 else { continue }
                if chunk < script.chunks {
                    try await fixture.put(
                        fixture.frames(of: clips[index], chunk: chunk),
                        into: stream,
                        of: host
                    )
                } else if chunk == script.chunks {
                    stream.finish()
                }
            }
        }
        for collector in collectors { try await collector.waitForEnd() }
        #expect(host.count == 0)
        for (index, script) in scripts.enumerated() {
            let out = collectors[index].frames
            try fixture.expectSame(
                out.map(\.frame),
                fixture.alone(script, clips[index]),
                script.prompt
            )
            #expect(out.map(\.sequence) == (0..<UInt32(4 * script.chunks + 1)).map { $0 })
        }
    }

    /// A stream that leaves in the middle of a chunk, or that fails, does not affect the others.
    @Test func othersGoOnWhenAStreamLeaves() async throws {
        let script = Script(prompt: "a pencil sketch", seed: 1, chunks: 6)
        let host = try SharedStreams(model)
        defer { host.close() }
        let clip = try fixture.clip(script.chunks, seed: 1)
        let (collector, other) = (Collector(), Collector())
        let stream = try fixture.join(host, script, collector)
        let leaver = try fixture.join(host, Script(prompt: "sepia", seed: 2), other)
        for chunk in 0..<script.chunks {
            try await fixture.put(fixture.frames(of: clip, chunk: chunk), into: stream, of: host)
            // On a busy machine, the damaged frame would be dropped for newer ones.
            try await fixture.wait(for: leaver, of: host)
            for index in 0..<3 {
                let sequence = UInt32(3 * chunk + index)
                let frame = clip[index]
                leaver.put(
                    SharedFrame(sequence: sequence) {
                        if sequence == 1 { throw SwanError(.decoder, "damaged") }
                        return frame
                    }
                )
            }
            if chunk == 3 { leaver.leave() }
        }
        stream.finish()
        try await collector.waitForEnd()
        try await other.waitForEnd()
        try fixture.expectSame(
            collector.frames.map(\.frame),
            fixture.alone(script, clip),
            "in company"
        )
        #expect(other.skipped == [1])
        #expect(!leaver.put(SharedFrame(sequence: 99) { clip[0] }))
    }

    // MARK: - Load

    /// While a stream is busy, only the newest frames are kept, and the rest is counted.
    @Test func newestFramesWin() async throws {
        let host = try SharedStreams(model)
        defer { host.close() }
        let collector = Collector()
        let stream = try fixture.join(host, Script(prompt: "sepia"), collector)
        let frame = try fixture.clip(1, seed: 1)[0]
        for sequence in 0..<400 { stream.put(SharedFrame(sequence: UInt32(sequence)) { frame }) }
        let counts = stream.counts
        #expect(counts.received == 400 && counts.dropped > 300)
        stream.finish()
        try await collector.waitForEnd()
        let sequences = collector.frames.map(\.sequence)
        #expect(sequences == sequences.sorted() && sequences.last == 399)
        #expect(sequences.count == 400 - counts.dropped)
    }

    @Test func closingEndsAllStreams() async throws {
        let host = try SharedStreams(model)
        let collector = Collector()
        let stream = try fixture.join(host, Script(prompt: "sepia"), collector)
        host.close()
        try await collector.waitForEnd()
        #expect(!stream.put(SharedFrame(sequence: 0) { throw SwanError(.decoder, "unused") }))
        #expect(throws: SwanError.self) {
            try fixture.join(host, Script(prompt: "sepia"), Collector())
        }
    }

    // MARK: - Changes

    /// Restyles six chunks with a change before the fourth.
    private func changed(_ change: StreamChange) async throws -> Collector {
        let script = Script(prompt: "a pencil sketch", seed: 1, chunks: 6)
        let host = try SharedStreams(model)
        defer { host.close() }
        let clip = try fixture.clip(script.chunks, seed: 1)
        let collector = Collector()
        let stream = try fixture.join(host, script, collector) { $0.dropsFrames = false }
        for chunk in 0..<script.chunks {
            while !host.isIdle(stream) { try await Task.sleep(for: .milliseconds(1)) }
            if chunk == 3 {
                stream.change(change)
                while !host.isIdle(stream) { try await Task.sleep(for: .milliseconds(1)) }
            }
            try await fixture.put(fixture.frames(of: clip, chunk: chunk), into: stream, of: host)
        }
        stream.finish()
        try await collector.waitForEnd()
        #expect(collector.frames.count == clip.count)
        return collector
    }

    private func change(_ json: String) throws -> StreamChange {
        try JSONDecoder().decode(StreamChange.self, from: Data(json.utf8))
    }

    @Test func promptsChangeAtAChunk() async throws {
        let collector = try await changed(change("{\"prompt\": \"neon edges\", \"event\": 7}"))
        #expect(collector.applied == [.init(event: 7, chunk: 3)])
        #expect(collector.chunkEvents == [0, 0, 0, 7, 7, 7])
        let script = Script(prompt: "a pencil sketch", seed: 1, chunks: 6)
        let stream = try VideoStream(model, prompt: script.prompt, options: fixture.options(script))
        var expected: [VideoFrame] = []
        for (index, frame) in try fixture.clip(6, seed: 1).enumerated() {
            if index == 13 { try stream.setPrompt("neon edges") }
            expected += try stream.push(frame)
        }
        expected += try stream.finish()
        fixture.expectSame(collector.frames.map(\.frame), expected, "a new prompt")
    }

    /// A change without a number keeps the number that frames have.
    @Test(arguments: [SharedStreams.Engine.model, .passthrough])
    func changesWithoutANumberKeepTheLastOne(engine: SharedStreams.Engine) async throws {
        let host = try SharedStreams(model, engine: engine)
        defer { host.close() }
        let (collector, clip) = (Collector(), try fixture.clip(4, seed: 1))
        let stream = try fixture.join(host, Script(prompt: "sepia"), collector) {
            $0.dropsFrames = false
        }
        let changes = [1: try change("{\"event\": 7}"), 2: try change("{\"seed\": 3}")]
        try await fixture.restyle(clip, by: stream, of: host) { chunk in
            if let change = changes[chunk] { stream.change(change) }
        }
        try await collector.waitForEnd()
        #expect(collector.applied.map(\.event) == [7, 0])
        #expect(collector.chunkEvents.first == 0 && collector.chunkEvents.last == 7)
        #expect(Set(collector.chunkEvents) == [0, 7])
    }

    /// Of changes that are merged, the newest number stays, even if a later change has none.
    @Test func mergedChangesHaveTheNewestNumber() throws {
        let first = try change("{\"event\": 7, \"steps\": 1}")
        let merged = first.merged(with: try change("{\"seed\": 3}"))
        #expect(merged.event == 7 && merged.steps == 1 && merged.seed == 3)
        #expect(merged.merged(with: try change("{\"event\": 2}")).event == 2)
    }

    /// One prompt with any weight is that prompt; a mix is neither of its prompts.
    @Test func promptsMix() async throws {
        let one = try await changed(change("{\"prompts\": [{\"text\": \"sepia\", \"weight\": 3}]}"))
        let plain = try await changed(change("{\"prompt\": \"sepia\"}"))
        let mixed = try await changed(
            change(
                "{\"prompts\": [{\"text\": \"sepia\", \"weight\": 1}, {\"text\": \"night\", \"weight\": 1}]}"
            )
        )
        fixture.expectSame(one.frames.map(\.frame), plain.frames.map(\.frame), "one of one")
        #expect(mixed.frames.last?.frame.pixels != plain.frames.last?.frame.pixels)
    }

    /// A transition ends with the new prompt's text.
    @Test func transitionsReachTheNewPrompt() async throws {
        let (start, end) = try inference {
            (
                try model.embeddings(of: [.init("a pencil sketch")]).embeddings,
                try model.embeddings(of: [.init("neon edges at night")]).embeddings
            )
        }
        var mix = PromptMix(start)
        try inference {
            _ = try mix.next(model.transformer)
            mix.turn(to: end, over: 3)
            for step in 1...4 {
                let isNew = try mix.next(model.transformer).isNew
                #expect(isNew == (step <= 3))
            }
        }
        #expect(try mix.current.array(of: Float.self) == end.array(of: Float.self))
        _ = try await changed(change("{\"prompt\": \"neon edges\", \"transition\": 2}"))
    }

    @Test(arguments: [
        "{\"steps\": 1}", "{\"noise_scale\": 0.1}", "{\"seed\": 99}", "{\"fit\": \"stretch\"}",
        "{\"fixed_noise\": true, \"steps\": 1, \"prompt\": \"sepia\"}",
    ])
    func settingsChange(json: String) async throws {
        let collector = try await changed(change(json))
        #expect(collector.applied.map(\.chunk) == [3])
    }

    /// A new size begins the stream anew, as a stream of that size would begin with these frames.
    @Test func sizesChangeAtAChunk() async throws {
        let collector = try await changed(change("{\"height\": 32, \"event\": 3}"))
        #expect(collector.applied == [.init(event: 3, chunk: 3)])
        let heights = collector.frames.map(\.frame.height)
        #expect(heights == Array(repeating: 48, count: 13) + Array(repeating: 32, count: 12))
        let script = Script(prompt: "a pencil sketch", seed: 1, height: 32)
        let rest = Array(try fixture.clip(6, seed: 1).dropFirst(13))
        try fixture.expectSame(
            collector.frames.dropFirst(13).map(\.frame),
            fixture.alone(script, rest),
            "after the change"
        )
    }

    @Test(arguments: ["{\"height\": 33}", "{\"width\": 7}"])
    func wrongSizesAreRefused(json: String) async throws {
        let collector = try await changed(change(json))
        #expect(collector.refused == [0] && collector.applied.isEmpty)
    }

    /// After a reset, a stream begins like a new one with the same settings.
    @Test func resetsForgetThePast() async throws {
        let collector = try await changed(change("{\"reset\": true}"))
        #expect(collector.applied.map(\.chunk) == [3])
    }

    @Test func invalidChangesAreRefused() async throws {
        let collector = try await changed(change("{\"steps\": 9, \"event\": 5}"))
        #expect(collector.refused == [5] && collector.applied.isEmpty)
    }

    @Test(arguments: [
        ("{\"steps\": 0}", "from 1 to"), ("{\"noise_scale\": 2}", "0 to 1"),
        ("{\"prompts\": []}", "1 to 8"), ("{\"transition\": -1}", "0 to 1000"),
        ("{\"prompts\": [{\"text\": \"a\", \"weight\": 0}]}", "above 0"),
        ("{\"fit\": \"squash\"}", "crop"),
    ])
    func saysWhatIsWrong(json: String, words: String) {
        let error = #expect(throws: DecodingError.self) { try change(json) }
        #expect("\(String(describing: error))".contains(words))
    }
}
