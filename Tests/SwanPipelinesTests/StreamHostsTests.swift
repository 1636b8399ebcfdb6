import Foundation
import ModelSupport
import SwanMedia
import SwanModels
import SwanSystem
import Synchronization
import Testing
import Torch

@testable import SwanPipelines

/// Streams on several devices, for which one processor stands here.
@Suite(.timeLimit(.minutes(5))) struct StreamHostsTests {
    private let fixture: SharedFixture

    init() throws { fixture = try SharedFixture() }

    private struct Loss: Equatable {
        let device: String
        let error: SwanError
        let left: Int
    }

    /// The devices that failed.
    private final class Losses: Sendable {
        private let found = Mutex<[Loss]>([])
        func add(_ device: String, _ error: SwanError, _ left: Int) {
            found.withLock { $0.append(Loss(device: device, error: error, left: left)) }
        }
        var all: [Loss] { found.withLock { $0 } }
    }

    private func request(_ prompt: String, rate: Double = 1) throws -> SharedStreamRequest {
        SharedStreamRequest(
            prompts: [.init(prompt)],
            options: try fixture.options(.init(prompt: prompt)),
            framesPerSecond: rate
        )
    }

    /// A host whose steps take `row` seconds.
    private func setCost(_ row: Double, of host: SharedStreams) throws {
        let nothing = try #require(LinearCost([(1, 1e-9), (2, 2e-9)]))
        try host.condition.withLock {
            let work = host.capacity.rowWork(host.capacity.tokens(64, 48))
            let denoise = try #require(LinearCost([(work, row), (2 * work, 2 * row)]))
            host.capacity.adopt(.init(encode: nothing, decode: nothing, denoise: denoise))
        }
    }

    private func hosts(_ count: Int) throws -> [SharedStreams] {
        try (0..<count).map { _ in try SharedStreams(fixture.model) }
    }

    /// While nothing is measured, streams go where fewest are.
    @Test func placesByNumber() throws {
        let each = try hosts(3)
        let all = try StreamHosts(each) { _, _, _ in }
        defer { all.close() }
        for _ in 0..<6 { _ = try all.join(request("sepia")) { _ in } }
        #expect(all.states.map(\.streams) == [2, 2, 2])
        #expect(all.states.allSatisfy { $0.device == "cpu" && $0.works })
    }

    /// A device of half the speed gets half the streams.
    @Test func placesByMeasuredLoad() throws {
        let each = try hosts(2)
        let all = try StreamHosts(each) { _, _, _ in }
        defer { all.close() }
        try setCost(0.010, of: each[0])
        try setCost(0.005, of: each[1])
        for _ in 0..<6 { _ = try all.join(request("sepia")) { _ in } }
        #expect(all.states.map(\.streams) == [2, 4])
    }

    /// A stream is refused when it fits nowhere, with the largest that would fit somewhere.
    @Test func refusesWhatFitsNowhere() throws {
        let each = try hosts(2)
        let all = try StreamHosts(each) { _, _, _ in }
        defer { all.close() }
        // A stream of two steps takes 72% and 48% of the time.
        try setCost(0.09, of: each[0])
        try setCost(0.06, of: each[1])
        let demand = StreamDemand(width: 64, height: 48, steps: 2, framesPerSecond: 16)
        for _ in 0..<2 {
            try all.requireCapacity(for: demand)
            _ = try all.join(request("sepia", rate: 16)) { _ in }
        }
        #expect(all.states.map(\.streams) == [1, 1])
        let error = #expect(throws: CapacityError.self) {
            try all.join(request("sepia", rate: 16)) { _ in }
        }
        #expect(
            error == #expect(throws: CapacityError.self) {
                try all.requireCapacity(for: demand)
            }
        )
        let fits = try #require(error?.fits)
        try all.requireCapacity(for: fits)
    }

    /// All streams of a device end when one finds that it is lost; the others do not notice.
    @Test func oneDeviceFails() async throws {
        let losses = Losses()
        let lost = SwanError(.deviceUnavailable, "the device is lost")
        let ill = try SharedStreams(fixture.model) { _, _, _ throws(SwanError) in throw lost }
        let well = try SharedStreams(fixture.model)
        let all = try StreamHosts([ill, well]) { losses.add($0, $1, $2) }
        defer { all.close() }
        let collectors = (0..<4).map { _ in Collector() }
        // They alternate: 0 and 2 are on the first device.
        let streams = try collectors.map { collector in
            try all.join(request("sepia"), report: collector.add).stream
        }
        #expect(all.states.map(\.streams) == [2, 2])
        let script = SharedFixture.Script(prompt: "sepia", chunks: 3)
        let clip = try fixture.clip(script.chunks, seed: 1)
        try await fixture.put(fixture.frames(of: clip, chunk: 0), into: streams[0], of: ill)
        // The second has done nothing yet.
        #expect(try await collectors[0].waitForFailure() == lost)
        #expect(try await collectors[2].waitForFailure() == lost)
        try await fixture.restyle(clip, by: streams[1], of: well)
        try await collectors[1].waitForEnd()
        fixture.expectSame(
            collectors[1].frames.map(\.frame),
            try fixture.alone(script, clip),
            "beside a lost device"
        )
        #expect(losses.all == [Loss(device: "cpu", error: lost, left: 1)])
        #expect(all.states.map(\.works) == [false, true])
        _ = try all.join(request("neon")) { _ in }
        #expect(all.states.map(\.streams) == [0, 2])
    }

    @Test func noDeviceIsLeft() async throws {
        let losses = Losses()
        let lost = SwanError(.deviceUnavailable, "the device is lost")
        let ill = try SharedStreams(fixture.model) { _, _, _ throws(SwanError) in throw lost }
        let all = try StreamHosts([ill]) { losses.add($0, $1, $2) }
        defer { all.close() }
        let collector = Collector()
        let stream = try all.join(request("sepia"), report: collector.add).stream
        let clip = try fixture.clip(1, seed: 1)
        try await fixture.put(fixture.frames(of: clip, chunk: 0), into: stream, of: ill)
        #expect(try await collector.waitForFailure() == lost)
        while losses.all.isEmpty { try await Task.sleep(for: .milliseconds(1)) }
        #expect(losses.all.map(\.left) == [0])
        let error = #expect(throws: SwanError.self) { try all.join(request("sepia")) { _ in } }
        #expect(error?.code == .deviceUnavailable)
    }
}
