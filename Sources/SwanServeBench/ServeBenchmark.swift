import Foundation
import NIOCore
import NIOPosix
import SwanCheckpoints
import SwanEvaluation
import SwanMedia
import SwanSystem

/// What `swan bench serve` measures: a row of its table.
package enum ServeRow: String, Sendable, CaseIterable, Encodable {
    /// Camera to canvas without a model.
    case glass
    /// Camera to canvas with the model.
    case glassModel = "glass-model"
    /// Four sessions at their rate.
    case sessions
    /// The rate of four sessions over that of one.
    case batching
    /// Connections that come and go.
    case churn
    /// A session beside hostile clients.
    case hostile
    /// From a new prompt to its first frame.
    case prompt
    /// From the start of the program to its first answer.
    case start
}

/// The options of a benchmark of `swan serve`.
package struct ServeBenchOptions: Sendable {
    /// The program that is measured.
    package var program: String
    /// The rows to measure.
    package var rows = ServeRow.allCases
    /// The model that the server serves.
    package var model = BundledModels.names[0]
    /// The length of the long rows in seconds; the others are parts of it.
    package var seconds = 60.0
    /// The number of rounds of the short rows, of which the medians count.
    package var rounds = 3
    /// The number of connections of `churn`.
    package var cycles = 1_000
    /// The browser; nil for the first one in `PATH`.
    package var browser: String?

    /// Creates the default options for a program.
    package init(program: String) { self.program = program }
}

/// Measures a server from outside: it runs `swan serve` as a child process and connects to it as users do.
package struct ServeBenchmark {
    let options: ServeBenchOptions
    private let version: String
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)

    /// Prepares a benchmark.
    ///
    /// - Parameter version: That of the program, for the report.
    package init(_ options: ServeBenchOptions, version: String) {
        self.options = options
        self.version = version
    }

    /// Ends the programs that a benchmark has started, for when this one has to exit at once.
    package static func abandon() { ChildProcess.killAll() }

    /// The report without rows.
    package var report: ServeBenchReport {
        ServeBenchReport(model: options.model, version: version)
    }

    /// Measures the rows.
    package func run(
        onProgress: (ServeRow) -> Void,
        onRow: (ServeBenchRow) throws -> Void
    ) throws -> ServeBenchReport {
        defer { group.shutdownGracefully { _ in } }
        var report = report
        for row in options.rows {
            onProgress(row)
            let result = result(of: row)
            report.rows.append(result)
            try onRow(result)
        }
        return report
    }

    /// Measures a row; one that fails does not keep the others from being measured.
    private func result(of row: ServeRow) -> ServeBenchRow {
        do {
            return try measure(row)
        } catch {
            return ServeBenchRow(row, "not measured", [], note: "\(error)")
        }
    }

    private func measure(_ row: ServeRow) throws -> ServeBenchRow {
        switch row {
        case .glass: try glass()
        case .glassModel: try glassWithModel()
        case .sessions: try sessions()
        case .batching: try batching()
        case .churn: try churn()
        case .hostile: try hostile()
        case .prompt: try prompt()
        case .start: try start()
        }
    }

    // MARK: - What rows share

    var loop: any EventLoop { group.next() }

    /// The length of a round of the short rows, in seconds.
    var roundSeconds: Double { max(3, options.seconds / 6) }

    /// Runs a server while `body` uses it.
    func withServer<Result>(
        _ arguments: [String] = [],
        _ body: (ServerProcess) throws -> Result
    ) throws -> Result {
        let server = try ServerProcess(options.program, ["--model", options.model] + arguments)
        defer { server.stop() }
        return try body(server)
    }

    /// Connects a client.
    ///
    /// - Parameter pictures: What it sends; nil for pictures of its size.
    func connect(
        _ server: ServerProcess,
        _ request: RealtimeClient.Request,
        pictures: [[UInt8]]? = nil
    ) throws -> RealtimeClient {
        try RealtimeClient(
            port: server.port,
            request,
            pictures: pictures
                ?? TestPictures.jpeg(width: request.width, height: request.height),
            on: loop
        )
    }

    func sleep(_ seconds: Double) { Thread.sleep(forTimeInterval: seconds) }
}

/// Soft moving shapes.
enum TestPictures {
    /// Pictures that repeat seamlessly.
    static func jpeg(width: Int, height: Int, count: Int = 32) throws -> [[UInt8]] {
        try (0..<count).map { index in
            let phase = 2 * Double.pi * Double(index) / Double(count)
            var pixels: [UInt8] = []
            pixels.reserveCapacity(3 * width * height)
            for y in 0..<height {
                for x in 0..<width {
                    let (u, v) = (Double(x) / 20 + phase, Double(y) / 15 - phase)
                    pixels += [
                        UInt8(128 + 100 * sin(u) * cos(v)), UInt8(128 + 90 * cos(u + v)),
                        UInt8(255 * (x + y) / (width + height)),
                    ]
                }
            }
            let frame = try VideoFrame(width: width, height: height, pixels: pixels)
            return try JPEG.encode(frame, quality: 90)
        }
    }
}
