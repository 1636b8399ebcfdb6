import Foundation
import ModelSupport
import SwanMedia
import SwanSystem
import Testing
import Torch

@testable import SwanPipelines

/// How the steps of shared streams run: one after another, as a stream batch, or as the load demands.
@Suite(.timeLimit(.minutes(5))) struct SharedModeTests {
    private let fixture: SharedFixture

    init() throws { fixture = try SharedFixture() }

    private func mode(_ mode: StepMode) -> StreamChange {
        var change = StreamChange()
        change.mode = mode
        return change
    }

    /// Restyles a clip in steps, as a batch from chunk 5 to 12, and in steps again.
    private func switched(_ script: SharedFixture.Script) async throws -> Collector {
        let clip = try fixture.clip(script.chunks, seed: script.seed)
        let host = try SharedStreams(fixture.model)
        defer { host.close() }
        let collector = Collector()
        let stream = try fixture.join(host, script, collector) { $0.mode = .steps }
        try await fixture.restyle(clip, by: stream, of: host) { chunk in
            if chunk == 5 { stream.change(mode(.batch)) }
            if chunk == 13 { stream.change(mode(.steps)) }
        }
        try await collector.waitForEnd()
        #expect(collector.frames.map(\.sequence) == (0..<UInt32(clip.count)).map { $0 })
        #expect(collector.chunks.map(\.index) == Array(0..<script.chunks))
        #expect(collector.usesBatch == (0..<script.chunks).map { (5..<13).contains($0) })
        return collector
    }

    /// With one step, both kinds are the same, and so is a stream that switches: it keeps its past, and no frame
    /// is lost, repeated or moved.
    @Test func switchesLeaveNoTrace() async throws {
        let script = SharedFixture.Script(prompt: "a pencil sketch", steps: 1, seed: 1, chunks: 18)
        let clip = try fixture.clip(script.chunks, seed: 1)
        let frames = try await switched(script).frames.map(\.frame)
        try fixture.expectSame(frames, fixture.alone(script, clip), "one step")
    }

    /// With two, the kinds differ: they see the past at different steps. Frames before the switch are those of
    /// steps one after another.
    @Test func switchesKeepTheOrder() async throws {
        let script = SharedFixture.Script(
            prompt: "a pencil sketch",
            streamBatch: false,
            seed: 1,
            chunks: 18
        )
        let clip = try fixture.clip(script.chunks, seed: 1)
        let frames = try await switched(script).frames.map(\.frame)
        let alone = try fixture.alone(script, clip)
        fixture.expectSame(Array(frames.prefix(21)), Array(alone.prefix(21)), "before")
        var batch = script
        batch.streamBatch = true
        #expect(try fixture.alone(batch, clip)[20].pixels != alone[20].pixels)
    }

    // MARK: - Automatic

    @Test func theChoiceDoesNotGoBackAndForth() {
        var automatic = AutomaticSteps()
        var choices: [Bool] = []
        for chunk in 0..<400 {
            // Around the upper limit, then in between, then low.
            let load = chunk < 100 ? (chunk % 2 == 0 ? 0.9 : 0.8) : chunk < 300 ? 0.7 : 0.4
            choices.append(automatic.next((steps: load, batch: 0.6 * load)))
        }
        let changes = zip(choices, choices.dropFirst()).count { $0 != $1 }
        #expect(changes == 2 && choices[50] && choices[299] && !choices[399])
        #expect(!choices.prefix(AutomaticSteps.patience).contains(true))
    }

    @Test func aBatchHasToSaveTime() {
        var automatic = AutomaticSteps()
        var choices: [Bool] = []
        for _ in 0..<50 { choices.append(automatic.next((steps: 1.5, batch: 1.49))) }
        for _ in 0..<50 { choices.append(automatic.next(nil)) }
        #expect(!choices.contains(true))
    }

    /// When time gets short, a stream becomes a batch, without a gap.
    @Test func timeDecides() async throws {
        let chunks = 30
        let clip = try fixture.clip(chunks, seed: 1)
        let host = try SharedStreams(fixture.model)
        defer { host.close() }
        let collector = Collector()
        let script = SharedFixture.Script(prompt: "a pencil sketch", seed: 1, chunks: chunks)
        let stream = try fixture.join(host, script, collector) { $0.mode = .auto }
        try await fixture.restyle(clip, by: stream, of: host) { chunk in
            // Passes that take seconds whatever is in them, then ones that take no time.
            adopt(chunk < 15 ? 5 : 1e-7, host)
        }
        try await collector.waitForEnd()
        #expect(collector.frames.map(\.sequence) == (0..<UInt32(clip.count)).map { $0 })
        let uses = collector.usesBatch
        let changes = zip(uses, uses.dropFirst()).count { $0 != $1 }
        #expect(changes == 2 && uses.first == false && uses[14] && uses.last == false)
    }

    private func adopt(_ seconds: Double, _ host: SharedStreams) {
        host.condition.withLock {
            guard let nothing = LinearCost([(1, 1e-9)]),
                let pass = LinearCost([(1, seconds), (1e12, seconds)])
            else { return }
            host.capacity.adopt(.init(encode: nothing, decode: nothing, denoise: pass))
        }
    }
}
