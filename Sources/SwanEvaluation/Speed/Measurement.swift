import Foundation
import SwanCheckpoints
public import Torch
import TorchNN
import SwanSystem

/// One thing that was timed again and again.
public struct Measurement: Sendable, Encodable {
    /// What was done, in a word: the same in every version.
    public let name: String
    /// What was done, in a sentence.
    public let work: String
    /// What it was done in.
    public let dtype: String
    /// Milliseconds of a round: the shortest, the median, and what 95 of 100 stay under.
    public let minimum, median, p95: Double
    /// Rounds that were timed, after those that were not.
    public let rounds: Int
    /// Rates and shares that follow from the median, by name and unit.
    public internal(set) var derived: [String: Double] = [:]

    private enum CodingKeys: String, CodingKey {
        case name, work, dtype, minimum = "min_ms", median = "median_ms", p95 = "p95_ms", rounds
        case derived
    }

    /// Times `round` after `warmUp` rounds that do not count, each until the device is done with it.
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

    /// What was timed elsewhere.
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

    /// One line for people.
    public var line: String {
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

/// Measurements with the machine they were made on.
public struct BenchmarkReport: Sendable, Encodable {
    /// The version of this form; it rises when a key changes its meaning or goes away.
    public let schemaVersion = 1
    /// The machine.
    public let machine = Machine.current
    /// The engine.
    public let engine = "libtorch \(Engine.version), \(Engine.cpuCapability) kernels"
    /// Threads of an operator on the CPU.
    public let threads = Engine.threads
    /// What networks ran on: `cpu`, or a GPU and its name.
    public let device: String
    /// What was measured.
    public var measurements: [Measurement] = []

    private enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version", machine, engine, threads, device, measurements
    }

    /// A report of this machine and one of its devices, with nothing measured yet.
    public init(_ device: Device = .cpu) {
        self.device = [device.description, Engine.name(of: device)].compactMap(\.self)
            .joined(separator: ", ")
    }
}

/// How benchmarks run.
public struct BenchmarkOptions: Sendable {
    /// Rounds that are timed.
    public var rounds = 5
    /// What networks compute on.
    public var device = Device.cpu
    /// What networks compute in; nil for what suits the device.
    public var dtype: DType?
    /// The model that `stream` runs.
    public var model = BundledModels.names[0]
    /// The video that `stream` runs on; nil for a made one.
    public var input: String?

    /// Five rounds on the CPU in what suits it.
    public init() {}

    var computeType: DType { dtype ?? .suited(to: device) }

    /// Random weights of a network as it computes; `keepsStorage` where those of a file would stay in it.
    func weights(keepsStorage: Bool = false) throws -> Weights {
        Weights(
            try MadeWeights.random(),
            dtype: computeType,
            device: device,
            keepsStorage: keepsStorage
        )
    }
}

/// What `swan bench` can measure.
public enum Benchmark: String, Sendable, CaseIterable {
    /// What an operator call costs, and how fast matrices are multiplied.
    case ops
    /// A chunk through four blocks of the 1.3B transformer.
    case dit
    /// Four frames through Wan 2.1's autoencoder and through the tiny one.
    case vae
    /// A guided step of the 1.3B transformer's width, and both kinds of decoder.
    case generate
    /// A file to a file.
    case stream

    /// Measures.
    public func run(_ options: BenchmarkOptions) throws -> [Measurement] {
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
