import Foundation
import Metrics

/// Metrics in memory that Prometheus reads as text.
///
/// It is passed to what records, and set for no other part of the process. The number of label values is
/// limited: what exceeds the limit is counted together, so that no client can fill the memory.
final class PrometheusMetrics: MetricsFactory, @unchecked Sendable {
    /// The name, kind and explanation of a metric.
    struct Description: Sendable {
        enum Kind: String, Sendable { case counter, gauge, histogram }

        let kind: Kind
        let help: String
        /// The upper bounds of a histogram's buckets, ascending.
        var buckets: [Double] = []
    }

    /// The metrics of one name that differ in their labels.
    private struct Family {
        let description: Description
        var series: [Labels: Series] = [:]
    }

    private let descriptions: [String: Description]
    private let seriesLimit: Int

    // Everything below is protected by `lock`.
    private let lock = NSLock()
    private var families: [String: Family] = [:]
    private var collectors: [@Sendable () -> Void] = []

    /// Creates a factory for metrics with these names.
    ///
    /// - Parameter seriesLimit: The maximum number of combinations of label values for each name.
    init(_ descriptions: [String: Description], seriesLimit: Int = 200) {
        self.descriptions = descriptions
        self.seriesLimit = seriesLimit
    }

    /// Adds a function that updates gauges before each reading.
    func whenRead(_ collect: @escaping @Sendable () -> Void) {
        lock.withLock { collectors.append(collect) }
    }

    /// All metrics in Prometheus's text format, version 0.0.4.
    func text() -> String {
        let collectors = lock.withLock { self.collectors }
        for collect in collectors { collect() }
        let families = lock.withLock { self.families }
        var text = PrometheusText()
        for (name, family) in families.sorted(by: { $0.key < $1.key }) {
            text.begin(name, family.description)
            for (labels, series) in family.series.sorted(by: { $0.key < $1.key }) {
                text.add(name, labels, series.snapshot, family.description)
            }
        }
        return text.text
    }

    // MARK: - MetricsFactory

    func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        series(label, dimensions, .init(kind: .counter, help: ""))
    }

    func makeFloatingPointCounter(
        label: String,
        dimensions: [(String, String)]
    ) -> any FloatingPointCounterHandler {
        series(label, dimensions, .init(kind: .counter, help: ""))
    }

    func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        series(label, dimensions, .init(kind: .gauge, help: ""))
    }

    func makeRecorder(
        label: String,
        dimensions: [(String, String)],
        aggregate: Bool
    ) -> any RecorderHandler {
        series(label, dimensions, .init(kind: aggregate ? .histogram : .gauge, help: ""))
    }

    func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        series(label, dimensions, .init(kind: .histogram, help: ""))
    }

    func destroyCounter(_ handler: any CounterHandler) { remove(handler) }
    func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) { remove(handler) }
    func destroyMeter(_ handler: any MeterHandler) { remove(handler) }
    func destroyRecorder(_ handler: any RecorderHandler) { remove(handler) }
    func destroyTimer(_ handler: any TimerHandler) { remove(handler) }

    /// The series with a name and labels; a new one unless there is one.
    private func series(
        _ name: String,
        _ dimensions: [(String, String)],
        _ fallback: Description
    ) -> Series {
        lock.withLock {
            let name = PrometheusText.name(name)
            let description = descriptions[name] ?? fallback
            var family = families[name] ?? Family(description: description)
            defer { families[name] = family }
            var labels = Labels(dimensions)
            if family.series[labels] == nil, family.series.count >= seriesLimit {
                labels = labels.mapped(to: "other")
            }
            if let known = family.series[labels] { return known }
            let new = Series(buckets: description.buckets)
            family.series[labels] = new
            return new
        }
    }

    private func remove(_ handler: AnyObject) {
        lock.withLock {
            families = families.mapValues { family in
                var family = family
                family.series = family.series.filter { $0.value !== handler }
                return family
            }
        }
    }
}

/// Label names and values, in the order of their names.
struct Labels: Hashable, Comparable, Sendable {
    let pairs: [[String]]

    init(_ dimensions: [(String, String)]) {
        pairs = dimensions.map { [PrometheusText.name($0.0), $0.1] }.sorted { $0[0] < $1[0] }
    }

    private init(pairs: [[String]]) { self.pairs = pairs }

    /// The same names, all with one value.
    func mapped(to value: String) -> Labels { Labels(pairs: pairs.map { [$0[0], value] }) }

    static func < (a: Labels, b: Labels) -> Bool {
        a.pairs.joined().lexicographicallyPrecedes(b.pairs.joined())
    }
}

/// The values of one metric: a number, or the counts of a histogram.
final class Series: @unchecked Sendable {
    /// The values at one moment.
    struct Snapshot: Sendable {
        var value = 0.0
        /// The number of recorded values up to each bucket's bound, not cumulative; the last has no bound.
        var counts: [Int]
        var sum = 0.0
    }

    private let buckets: [Double]
    // `lock` protects the values.
    private let lock = NSLock()
    private var values: Snapshot

    init(buckets: [Double]) {
        self.buckets = buckets
        values = Snapshot(counts: Array(repeating: 0, count: buckets.count + 1))
    }

    var snapshot: Snapshot { lock.withLock { values } }

    private func add(_ amount: Double) { lock.withLock { values.value += amount } }
    private func replace(_ value: Double) { lock.withLock { values.value = value } }

    private func observe(_ value: Double) {
        guard value.isFinite else { return }
        lock.withLock {
            values.value = value
            values.sum += value
            values.counts[buckets.firstIndex { value <= $0 } ?? buckets.count] += 1
        }
    }
}

extension Series: CounterHandler, FloatingPointCounterHandler, MeterHandler, RecorderHandler,
    TimerHandler
{
    func increment(by amount: Int64) { add(Double(amount)) }
    func increment(by amount: Double) { add(amount) }
    func decrement(by amount: Double) { add(-amount) }
    func set(_ value: Int64) { replace(Double(value)) }
    func set(_ value: Double) { replace(value) }
    func record(_ value: Int64) { observe(Double(value)) }
    func record(_ value: Double) { observe(value) }
    func recordNanoseconds(_ duration: Int64) { observe(Double(duration) / 1e9) }
    func reset() { replace(0) }
}
