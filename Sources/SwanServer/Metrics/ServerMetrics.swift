import Foundation
import Metrics
package import SwanHTTP
import SwanPipelines

/// What a server measures, for Prometheus.
package final class ServerMetrics: Sendable {
    let factory = PrometheusMetrics(PrometheusMetrics.Description.ofServer)

    /// Creates the metrics of a server.
    ///
    /// - Parameter version: The version of the program.
    package init(version: String = "") {
        Gauge(label: "swan_build_info", dimensions: [("version", version)], factory: factory)
            .record(1)
        setReady(false)
        // Series that exist from the start show a rate from the first event on.
        for reason in ["inbox", "outbox", "damaged"] {
            count("swan_frames_dropped_total", 0, reason: reason)
        }
        for name in [
            "swan_sessions_started_total", "swan_chunks_total", "swan_deadline_missed_total",
            "swan_underruns_total",
        ] { count(name, 0) }
        factory.whenRead { [weak factory] in if let factory { ProcessGauges.update(factory) } }
    }

    /// All metrics in Prometheus's text format.
    package var text: String { factory.text() }

    /// Records whether the server takes sessions.
    package func setReady(_ isReady: Bool) {
        Meter(label: "swan_ready", factory: factory).set(isReady ? 1 : 0)
    }

    /// Counts a request.
    package func add(_ request: RequestReport) {
        let labels = [
            ("method", request.method), ("route", request.route), ("status", "\(request.status)"),
        ]
        Counter(label: "swan_http_requests_total", dimensions: labels, factory: factory).increment()
        seconds("swan_http_request_duration_seconds", request.seconds, ("route", request.route))
    }

    /// Reports the sessions of a registry at each reading.
    func follow(_ registry: SessionRegistry) {
        factory.whenRead { [weak self, weak registry] in
            guard let self, let registry else { return }
            let queued = registry.all.map(\.queued)
            set("swan_sessions", registry.count)
            for (index, state) in registry.host.states.enumerated() {
                let labels = [("device", state.device), ("engine", "\(index)")]
                set("swan_device_ready", state.works ? 1 : 0, labels)
                set("swan_device_sessions", state.streams, labels)
            }
            set("swan_queue_depth", queued.map(\.stream).reduce(0, +), [("queue", "stream")])
            set("swan_queue_depth", queued.map(\.outbox).reduce(0, +), [("queue", "outbox")])
        }
    }

    /// Reports the jobs of a queue at each reading.
    func follow(_ queue: JobQueue) {
        factory.whenRead { [weak self, weak queue] in
            guard let self, let queue else { return }
            let all = queue.all.map(\.job.status)
            for status in VideoJob.Status.allCases {
                set("swan_jobs", all.count { $0 == status }, [("status", status.rawValue)])
            }
        }
    }

    /// Counts a session that was refused.
    func refused(_ reason: String) { count("swan_sessions_refused_total", 1, reason: reason) }

    func count(_ name: String, _ number: Int, reason: String? = nil) {
        let labels = reason.map { [("reason", $0)] } ?? []
        Counter(label: name, dimensions: labels, factory: factory).increment(by: number)
    }

    func seconds(_ name: String, _ seconds: Double, _ label: (String, String)? = nil) {
        Recorder(label: name, dimensions: label.map { [$0] } ?? [], factory: factory)
            .record(seconds)
    }

    func set(_ name: String, _ value: Int, _ labels: [(String, String)] = []) {
        Meter(label: name, dimensions: labels, factory: factory).set(value)
    }
}

/// What the system knows about this process.
private enum ProcessGauges {
    static func update(_ factory: PrometheusMetrics) {
        func set(_ name: String, _ value: Int) { Meter(label: name, factory: factory).set(value) }
        set("process_resident_memory_bytes", 1024 * number("VmRSS"))
        set("process_threads", number("Threads"))
        let files = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")
        // One of them is the folder itself.
        set("process_open_fds", max(0, (files?.count ?? 0) - 1))
    }

    /// A number in the status of the process.
    private static func number(_ key: String) -> Int {
        guard let handle = FileHandle(forReadingAtPath: "/proc/self/status") else { return 0 }
        defer { handle.closeFile() }
        let text = String(decoding: handle.readDataToEndOfFile(), as: UTF8.self)
        let line = text.split(separator: "\n").first { $0.hasPrefix(key + ":") }
        return line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) }
            ?? 0
    }
}
