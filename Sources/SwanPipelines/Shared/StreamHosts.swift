import Foundation
import SwanCheckpoints
package import SwanSystem
package import SwanText
import Torch

/// Hosts of streams on several devices, behind one door.
///
/// A stream joins the host that will be least loaded with it, and stays there. If a device fails, its
/// host ends its streams with the reason, and the others go on.
package final class StreamHosts: @unchecked Sendable {
    /// A device and its streams.
    package struct State: Sendable, Equatable {
        /// The device's name.
        package let device: String
        /// Whether it still works.
        package let works: Bool
        /// The number of its streams.
        package let streams: Int
        /// The number of ranks that run a stream together; nil for this process alone.
        package let ranks: Int?
    }

    private let hosts: [SharedStreams]
    private let onLoss: @Sendable (_ device: String, SwanError, _ left: Int) -> Void

    // Everything below is protected by `lock`.
    private let lock = NSLock()
    private var lost: Set<Int> = []
    /// The demands of streams that are joining, by host.
    private var joining: [[StreamDemand]]

    /// Puts hosts of one model behind one door.
    ///
    /// - Parameter onLoss: Called once for each device that fails, with the number of those left; on
    ///   a thread of its host, so it must not block.
    package init(
        _ hosts: [SharedStreams],
        onLoss: @escaping @Sendable (_ device: String, SwanError, _ left: Int) -> Void
    ) throws(SwanError) {
        guard !hosts.isEmpty else {
            throw SwanError(.invalidArgument, "no device for streams")
        }
        self.hosts = hosts
        self.onLoss = onLoss
        joining = hosts.map { _ in [] }
        for (index, host) in hosts.enumerated() {
            host.condition.withLock {
                host.whenLost = { [weak self] error in self?.lose(index, error) }
            }
        }
    }

    /// The model, on the first device that works; its configuration is the same on all.
    package var model: StreamModel { hosts[working.first ?? 0].model }

    /// The number of frames of a chunk; a stream's first chunk may have one more.
    package var framesPerChunk: Int { hosts[0].framesPerChunk }

    /// The most chunks that ranks hold, and that therefore come out late; 0 without ranks.
    package var chunksHeld: Int {
        (hosts[0].ranks?.stageCount ?? 0) * hosts[0].model.configuration.steps.count
    }

    /// The devices in the order in which they were given.
    package var states: [State] {
        let lost = lock.withLock { self.lost }
        return hosts.enumerated().map {
            State(
                device: "\($1.model.device)",
                works: !lost.contains($0),
                streams: $1.count,
                ranks: $1.ranks?.size
            )
        }
    }

    private var working: [Int] {
        let lost = lock.withLock { self.lost }
        return hosts.indices.filter { !lost.contains($0) }
    }

    /// Measures the cost of the stages on each device, one device after the other.
    ///
    /// - Parameter whenDone: Called for each device, with the error if the measurement failed.
    package func measureCost(whenDone: @escaping @Sendable ((any Error)?) -> Void) {
        measureCost(of: hosts[...], whenDone)
    }

    private func measureCost(
        of rest: ArraySlice<SharedStreams>,
        _ whenDone: @escaping @Sendable ((any Error)?) -> Void
    ) {
        guard let host = rest.first else { return }
        // Devices may be parts of one processor, which would disturb each other.
        host.measureCost { [weak self] error in
            whenDone(error)
            self?.measureCost(of: rest.dropFirst(), whenDone)
        }
    }

    /// Throws unless a stream fits on a device that works.
    package func requireCapacity(for demand: StreamDemand) throws(CapacityError) {
        var refusals: [CapacityError] = []
        for index in working {
            do {
                return try hosts[index].requireCapacity(for: demand)
            } catch {
                refusals.append(error)
            }
        }
        if let refusal = Self.mildest(refusals) { throw refusal }
    }

    /// The refusal with the largest demand that would fit.
    private static func mildest(_ refusals: [CapacityError]) -> CapacityError? {
        refusals.max { ($0.fits?.work ?? 0) < ($1.fits?.work ?? 0) }
    }

    /// Adds a stream to the host that will be least loaded with it.
    ///
    /// - Parameter report: Called on the host's threads, in order; must not block.
    /// - Returns: The stream, and what had to be changed in its prompt.
    /// - Throws: `CapacityError` if it fits on no device; `deviceUnavailable` if none works.
    package func join(
        _ request: SharedStreamRequest,
        report: @escaping @Sendable (SharedStreamReport) -> Void
    ) throws -> (stream: SharedStream, issues: [PromptIssue]) {
        let demand = StreamDemand(request.options, framesPerSecond: request.framesPerSecond)
        var refusals: [CapacityError] = []
        var tried: Set<Int> = []
        while let index = reserve(demand, besides: tried) {
            defer { release(demand, index) }
            tried.insert(index)
            do {
                return try hosts[index].join(request) { [weak self] event in
                    report(event)
                    self?.watch(event, of: index)
                }
            } catch let error as CapacityError {
                refusals.append(error)
            }
        }
        throw Self.mildest(refusals) ?? Self.noDevice
    }

    private static var noDevice: any Error {
        SwanError(.deviceUnavailable, "no device works any more")
    }

    /// Chooses a host by its measured load, or by its number of streams while that is unknown, and
    /// counts the stream that is about to join there.
    private func reserve(_ demand: StreamDemand, besides tried: Set<Int>) -> Int? {
        let candidates = working.filter { !tried.contains($0) }
        return lock.withLock {
            let loads = candidates.map { index in
                hosts[index].load(with: joining[index] + [demand])
            }
            let isKnown = loads.allSatisfy { $0.share != nil }
            let best = zip(candidates, loads).min { a, b in
                let (x, y) = (a.1, b.1)
                if isKnown, x.share != y.share { return (x.share ?? 0) < (y.share ?? 0) }
                return x.streams < y.streams
            }
            guard let index = best?.0 else { return nil }
            joining[index].append(demand)
            return index
        }
    }

    private func release(_ demand: StreamDemand, _ index: Int) {
        lock.withLock {
            if let place = joining[index].firstIndex(of: demand) {
                joining[index].remove(at: place)
            }
        }
    }

    /// Ends the streams of a device when one of them has found that it is lost.
    private func watch(_ event: SharedStreamReport, of index: Int) {
        guard case .ended(let error as SwanError) = event, error.code == .deviceUnavailable else {
            return
        }
        lose(index, error)
    }

    private func lose(_ index: Int, _ error: SwanError) {
        let left: Int? = lock.withLock {
            lost.insert(index).inserted ? hosts.count - lost.count : nil
        }
        guard let left else { return }
        hosts[index].fail(error)
        onLoss("\(hosts[index].model.device)", error, left)
    }

    /// Ends all streams and waits for the threads.
    package func close() {
        for host in hosts { host.close() }
    }
}
