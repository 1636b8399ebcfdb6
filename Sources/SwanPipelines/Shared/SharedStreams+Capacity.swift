import Foundation
import SwanThreads
import Torch

/// Measures what the model can do, and decides what fits.
extension SharedStreams {
    /// Starts to measure the cost of the stages, on a thread of its own.
    ///
    /// - Parameter whenDone: Called with the error if the measurement failed.
    package func measureCost(whenDone: @escaping @Sendable ((any Error)?) -> Void) {
        // Ranks run one stream, which fits whatever it costs.
        guard ranks == nil else { return whenDone(nil) }
        do {
            try threads.start("swan.measure") { [self] in
                budget.divided(by: 2).apply()
                do {
                    try measureCost()
                    whenDone(nil)
                } catch {
                    whenDone(error)
                }
            }
        } catch {
            whenDone(error)
        }
    }

    /// Measures the cost of the stages.
    func measureCost() throws {
        let measurement = CostMeasurement(
            model: model,
            clock: clock,
            capacity: condition.withLock { capacity },
            isCancelled: { [self] in condition.withLock { !isOpen } }
        )
        guard let cost = try measurement.run() else { return }
        condition.withLock { capacity.adopt(cost) }
    }

    /// Throws unless a stream fits beside those that run.
    package func requireCapacity(for demand: StreamDemand) throws(CapacityError) {
        try condition.withLock {
            Result { () throws(CapacityError) in try requireRoom(for: demand) }
        }
        .get()
    }

    /// Throws unless a stream fits beside those that run, except one; the lock is held.
    func requireRoom(
        for demand: StreamDemand,
        besides id: Int? = nil
    ) throws(CapacityError) {
        let others = streams.values.filter { $0.stream.id != id }
        if ranks != nil, !others.isEmpty {
            throw CapacityError(demand: demand, fits: nil, streams: others.count, takesTurns: true)
        }
        let now = clock.now()
        let isLate = others.contains { $0.isLate(at: now) }
        try capacity.require(demand, beside: others.map(\.demand), isLate: isLate)
    }

    /// The load of all streams with either kind of steps; the lock is held.
    func load() -> (steps: Double, batch: Double)? {
        capacity.busiest(streams.values.map(\.demand))
    }

    /// The load with further streams, which is nil until the cost is known, and their number.
    func load(with more: [StreamDemand]) -> (share: Double?, streams: Int) {
        condition.withLock {
            let demands = streams.values.map(\.demand) + more
            let load = capacity.busiest(demands).map { min($0.steps, $0.batch) }
            return (load, demands.count)
        }
    }
}
