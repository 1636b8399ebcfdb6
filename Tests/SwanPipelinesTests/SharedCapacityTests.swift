import Foundation
import SwanModels
import SwanSystem
import Testing
import Torch

@testable import SwanPipelines

/// What fits beside what, by measured cost.
@Suite struct SharedCapacityTests {
    // MARK: - Cost

    @Test func aLineIsFound() throws {
        let cost = try #require(LinearCost([(1, 3), (2, 5), (4, 9)]))
        #expect(abs(cost.seconds(10) - 21) < 1e-9)
    }

    @Test(arguments: [[(1.0, 5.0), (2, 4)], [(1, 1), (2, 4)], [(3, 6)], [(0, 2)]])
    func costsAreNeverNegative(samples: [(Double, Double)]) throws {
        let cost = try #require(LinearCost(samples.map { (amount: $0.0, seconds: $0.1) }))
        for amount in [0, 0.1, 1, 10, 1e6] { #expect(cost.seconds(amount) >= 0) }
        #expect(LinearCost([]) == nil)
    }

    /// The pace follows what is usual, not what is extreme.
    @Test func thePaceFollowsTheMedian() throws {
        var cost = try #require(LinearCost([(1, 1), (2, 2)]))
        for index in 0..<400 { cost.follow(2, took: index % 10 == 0 ? 500 : 4) }
        #expect((3.6...4.5).contains(cost.seconds(2)))
    }

    // MARK: - Admission

    private let demand = StreamDemand(width: 64, height: 48, steps: 2, framesPerSecond: 16)

    /// Encoding and decoding cost nothing; a row of a pass of `demand` takes `row` seconds, and a pass itself
    /// `pass`.
    private func capacity(
        _ model: StreamModel,
        pass: Double = 0,
        row: Double
    ) throws -> StreamCapacity {
        var capacity = StreamCapacity(model, ComputeBudget(threads: 2))
        let work = capacity.rowWork(capacity.tokens(demand.width, demand.height))
        let nothing = try #require(LinearCost([(1, 1e-9), (2, 2e-9)]))
        let denoise = try #require(LinearCost([(work, pass + row), (2 * work, pass + 2 * row)]))
        capacity.adopt(.init(encode: nothing, decode: nothing, denoise: denoise))
        return capacity
    }

    private func refusal(
        _ capacity: StreamCapacity,
        beside others: [StreamDemand],
        isLate: Bool = false
    ) -> CapacityError? {
        do {
            try capacity.require(demand, beside: others, isLate: isLate)
            return nil
        } catch {
            return error
        }
    }

    @Test func aStreamAloneAlwaysFits() throws {
        let slow = try capacity(SharedFixture().model, row: 100)
        #expect(refusal(slow, beside: []) == nil)
    }

    /// A chunk lasts a quarter of a second and has two rows.
    @Test func streamsFitUntilTheTimeIsUsedUp() throws {
        let model = try SharedFixture().model
        // Each stream takes 40% of the time.
        let capacity = try capacity(model, row: 0.05)
        #expect(refusal(capacity, beside: [demand]) == nil)
        let error = try #require(refusal(capacity, beside: [demand, demand]))
        #expect(error.streams == 2 && error.demand == demand)
        let fits = try #require(error.fits)
        #expect(fits != demand)
        try capacity.require(fits, beside: [demand, demand], isLate: false)
        #expect(error.description.contains("64x48 at 16 fps in 2 steps"))
        #expect(error.description.contains("2 sessions that run"))
    }

    @Test func nothingFitsBesideALateStream() throws {
        let capacity = try capacity(SharedFixture().model, row: 0.001)
        #expect(refusal(capacity, beside: [demand]) == nil)
        let error = try #require(refusal(capacity, beside: [demand], isLate: true))
        #expect(error.fits == nil && error.description.contains("try again"))
    }

    @Test func unknownCostsRefuseNothing() throws {
        let capacity = StreamCapacity(try SharedFixture().model, ComputeBudget(threads: 2))
        #expect(refusal(capacity, beside: Array(repeating: demand, count: 20)) == nil)
    }

    @Test func smallerDemandsKeepTheShapeAndComeInOrder() {
        let smaller = demand.alternatives(multiple: 16)
        #expect(smaller[0].steps == 1 && smaller[0].width == 64)
        #expect(smaller.allSatisfy { $0.width % 16 == 0 && $0.height % 16 == 0 && $0.steps >= 1 })
        #expect(!smaller.contains(demand))
        #expect(smaller.last?.framesPerSecond == 8)
    }

    /// Rows that share a pass share what a pass costs.
    @Test func batchesSaveWhatAPassCosts() throws {
        let model = try SharedFixture().model
        let load = try #require(capacity(model, pass: 0.05, row: 0.01).busiest([demand]))
        #expect(abs(load.steps - 8 * 0.06) < 1e-6)
        #expect(abs(load.batch - 4 * 0.07) < 1e-6)
    }

    // MARK: - Measurement

    @Test func theModelIsMeasured() throws {
        let model = try SharedFixture().model
        let measurement = CostMeasurement(
            model: model,
            clock: .continuous,
            capacity: StreamCapacity(model, .current),
            isCancelled: { false }
        )
        let cost = try #require(try measurement.run())
        #expect(cost.encode.seconds(3_000) > 0 && cost.decode.seconds(3_000) > 0)
        #expect(cost.denoise.seconds(1e6) > 0)
    }

    @Test func cancelledMeasurementsHaveNoResult() throws {
        let model = try SharedFixture().model
        let measurement = CostMeasurement(
            model: model,
            clock: .continuous,
            capacity: StreamCapacity(model, .current),
            isCancelled: { true }
        )
        #expect(try measurement.run() == nil)
    }

    /// The host follows the cost: a measurement that was far too low is corrected by what streams take.
    @Test func streamsCorrectTheCost() async throws {
        let fixture = try SharedFixture()
        let host = try SharedStreams(fixture.model)
        defer { host.close() }
        let tiny = try capacity(fixture.model, row: 1e-9)
        host.condition.withLock { host.capacity = tiny }
        let collector = Collector()
        let stream = try fixture.join(host, .init(prompt: "sepia"), collector)
        try await fixture.restyle(fixture.clip(6, seed: 1), by: stream, of: host)
        try await collector.waitForEnd()
        let cost = try #require(host.condition.withLock { host.capacity.cost })
        #expect(cost.denoise.pace > 1 && cost.encode.pace > 1 && cost.decode.pace > 1)
    }

    // MARK: - The host

    /// A stream whose chunks are late keeps others out, until it pauses.
    @Test func lateStreamsKeepOthersOut() throws {
        let fixture = try SharedFixture()
        let host = try SharedStreams(fixture.model)
        defer { host.close() }
        let stream = try fixture.join(host, .init(prompt: "sepia"), Collector())
        try host.requireCapacity(for: demand)
        let now = ContinuousClock.now
        host.update(stream) { state in
            for _ in 0..<5 { state.count(isLate: true, latency: 1, at: now) }
        }
        #expect(throws: CapacityError.self) { try host.requireCapacity(for: demand) }
        host.update(stream) { $0.count(isLate: true, latency: 1, at: now - .seconds(60)) }
        try host.requireCapacity(for: demand)
    }

    @Test func hostsRefuseWhatDoesNotFit() async throws {
        let fixture = try SharedFixture()
        let host = try SharedStreams(fixture.model)
        defer { host.close() }
        // A step takes 36% of the time.
        let busy = try capacity(fixture.model, row: 0.09)
        host.condition.withLock { host.capacity = busy }
        let collector = Collector()
        let first = try fixture.join(host, .init(prompt: "sepia", steps: 1), collector) {
            $0.framesPerSecond = 16
        }
        let error = #expect(throws: CapacityError.self) {
            try fixture.join(host, .init(prompt: "sepia"), Collector()) {
                $0.framesPerSecond = 16
            }
        }
        let fits = try #require(error?.fits)
        try host.requireCapacity(for: fits)
        let other = Collector()
        let second = try fixture.join(host, .init(prompt: "night", steps: 1), other) {
            $0.framesPerSecond = 16
        }
        var more = StreamChange()
        (more.steps, more.event) = (2, 4)
        second.change(more)
        try await fixture.wait(for: second, of: host)
        #expect(other.refused == [4])
        // Alone, it may have what it wants.
        first.leave()
        second.change(more)
        try await fixture.wait(for: second, of: host)
        #expect(other.refused == [4] && host.count == 1)
    }
}
