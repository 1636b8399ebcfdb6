import Foundation

/// Percentiles of any number of durations in bounded memory.
///
/// Durations are counted in 128 buckets per factor of two; a percentile is the longest duration in
/// its bucket, so at most 0.8% above the exact value.
public struct LatencyHistogram: Sendable, Equatable {
    private struct Bucket: Equatable {
        var count = 0
        var longest = 0.0
    }

    /// The buckets by index; empty ones are absent.
    private var buckets: [Int: Bucket] = [:]
    /// The number of durations counted.
    public private(set) var count = 0

    /// Creates an empty histogram.
    public init() {}

    /// Adds a duration in seconds.
    public mutating func add(_ seconds: Double) {
        let index = Self.bucket(of: seconds)
        buckets[index, default: Bucket()].count += 1
        buckets[index, default: Bucket()].longest = max(seconds, buckets[index]?.longest ?? 0)
        count += 1
    }

    /// The duration in seconds that a share of all, 0 to 1, does not exceed; `nil` if empty.
    public func percentile(_ share: Double) -> Double? {
        let rank = min(max(Int((share * Double(count)).rounded(.up)), 1), count)
        var passed = 0
        for (_, bucket) in buckets.sorted(by: { $0.key < $1.key }) {
            passed += bucket.count
            if passed >= rank { return bucket.longest }
        }
        return nil
    }

    /// The bucket of a duration, which is clamped to between a microsecond and three days.
    private static func bucket(of seconds: Double) -> Int {
        let ratio = min(max(seconds, 1e-6), 3e5) / 1e-6
        let (exponent, mantissa) = (ratio.exponent, ratio.significand)
        return Int(exponent) * 128 + Int((mantissa - 1) * 128)
    }
}

extension StreamSummary.Latency {
    /// The percentiles of chunk latencies; `nil` if there are none.
    init?(_ latencies: LatencyHistogram) {
        func milliseconds(_ share: Double) -> Double? {
            latencies.percentile(share).map { $0 * 1_000 }
        }
        guard let p50 = milliseconds(0.5), let p95 = milliseconds(0.95),
            let p99 = milliseconds(0.99)
        else { return nil }
        self.init(p50: p50, p95: p95, p99: p99)
    }
}
