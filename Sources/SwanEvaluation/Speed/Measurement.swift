import Foundation
import SwanCheckpoints
package import Torch
import TorchNN
import SwanSystem

/// The timings of one workload.
package struct Measurement: Sendable, Encodable {
    /// The short name of the workload, which is stable across versions.
    package let name: String
    /// A description of the workload.
    package let work: String
    /// The compute dtype.
    package let dtype: String
    /// The minimum, the median and the 95th percentile of the time per round, in milliseconds.
    package let minimum, median, p95: Double
    /// The number of timed rounds, not counting warm-up.
    package let rounds: Int
    /// Rates and ratios derived from the median, by name and unit.
    package internal(set) var derived: [String: Double] = [:]

    private enum CodingKeys: String, CodingKey {
        case name, work, dtype, minimum = "min_ms", median = "median_ms", p95 = "p95_ms", rounds
        case derived
    }

    /// Times `round` after `warmUp` rounds that do not count. Each timed round is synchronized
    /// with the device.
    init(
        _ name: String,
        _ work: String,
        dtype: DType,
        on device: Device,
        rounds: Int,
        warmUp: Int = 1,
        _ round: () throws -> Void
    ) throws {
        for _ in 0..<warmUp { try round() }
        try Engine.synchronize(device)
        var times: [Double] = []
        for _ in 0..<max(1, rounds) {
            let start = ContinuousClock.now
            try round()
            try Engine.synchronize(device)
            times.append((ContinuousClock.now - start).seconds)
        }
        self.init(name, work, dtype: dtype, seconds: times)
    }

    /// Creates a measurement from given times.
    init(_ name: String, _ work: String, dtype: DType, seconds: [Double]) {
        self.name = name
        self.work = work
        self.dtype = "\(dtype)"
        let sorted = seconds.sorted().map { $0 * 1_000 }
        minimum = sorted.first ?? 0
        median = sorted.isEmpty ? 0 : sorted[sorted.count / 2]
        p95 = sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, sorted.count * 95 / 100)]
        rounds = sorted.count
    }

    /// The measurement as a human-readable line.
    package var line: String {
        let times = String(
            format: "%10.3f ms  (min %.3f, p95 %.3f, %d rounds)",
            median,
            minimum,
            p95,
            rounds
        )
        let more = derived.sorted { $0.key < $1.key }
            .map { String(format: "%@ %.3g", $0.key, $0.value) }
        let name = "\(name) \(dtype)".padding(toLength: 24, withPad: " ", startingAt: 0)
        return ([name + times] + more).joined(separator: "  ")
    }
}

/// Measurements, and the machine they were made on.
package struct BenchmarkReport: Sendable, Encodable {
    /// The version of the schema; it increases when a key is removed or its meaning changes.
    package let schemaVersion = 1
    /// The machine.
    package let machine = Machine.current
    /// The engine and its version.
    package let engine = "libtorch \(Engine.version), \(Engine.cpuCapability) kernels"
    /// The number of threads that an operator uses on the CPU.
    package let threads = Engine.threads
    /// The device that networks ran on: `cpu`, or a GPU and its name.
    package let device: String
    /// The measurements.
    package var measurements: [Measurement] = []

    private enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version", machine, engine, threads, device, measurements
    }

    /// Creates an empty report for this machine and one of its devices.
    package init(_ device: Device = .cpu) {
        self.device = [device.description, Engine.name(of: device)].compactMap(\.self)
            .joined(separator: ", ")
    }
}

/// The options of a speed benchmark.
package struct BenchmarkOptions: Sendable {
    /// The number of rounds to time.
    package var rounds = 5
    /// The device to run networks on.
    package var device = Device.cpu
    /// The compute dtype; nil to choose by device.
    package var dtype: DType?
    /// The model that `stream` runs.
    package var model = BundledModels.names[0]
    /// The input video of `stream`; nil for a synthetic one.
    package var input: String?

    /// Creates options for five rounds on the CPU in its default dtype.
    package init() {}

    var computeType: DType { dtype ?? .suited(to: device) }

    /// Returns random weights in the compute dtype.
    ///
    /// - Parameter keepsStorage: Whether the network would leave the weights of a file in that file.
    func weights(keepsStorage: Bool = false) throws -> Weights {
        Weights(
            try MadeWeights.random(),
            dtype: computeType,
            device: device,
            keepsStorage: keepsStorage
        )
    }
}

/// A workload of `swan bench`.
package enum Benchmark: String, Sendable, CaseIterable {
    /// The overhead of an operator call, and the matrix multiplication rate.
    case ops
    /// A chunk through four blocks of the 1.3B transformer.
    case dit
    /// Four frames through Wan 2.1's autoencoder and through the tiny one.
    case vae
    /// A guided step at the width of the 1.3B transformer, and both kinds of decoder.
    case generate
    /// A stream from file to file.
    case stream

    /// Runs the benchmark.
    package func run(_ options: BenchmarkOptions) throws -> [Measurement] {
        try inference {
            switch self {
            case .ops: try Self.operators(options)
            case .dit: try Self.transformer(options)
            case .vae: try Self.autoencoder(options)
            case .generate: try Self.generation(options)
            case .stream: try Self.stream(options)
            }
        }
    }
}
