import Foundation
import SwanCheckpoints
import SwanEvaluation
import SwanSystem

extension ServeBenchmark {
    /// The rate of the camera, which is that of the bundled model.
    private static let cameraRate = 16
    /// The seconds after the start of a session that do not count: the page's delay adapts to the largest latency of
    /// the last two.
    private static let settlingSeconds = 5.0

    /// What a session in the page showed.
    struct Glass {
        var latencies: [Double] = []
        var fromCapture: [Double] = []
        var dropped = 0.0, missed = 0.0, readable = 0.0
        var chunkFrames = 4

        /// The figures of a session with the model, of which nothing may be dropped: neither by the page or the
        /// server, which count what they drop, nor on the way to the screen.
        var figuresWithModel: [Figure] {
            [
                Figure("p95", latencies.percentile(0.95), "ms", .atMost(600)),
                Figure("frames dropped", dropped, "", .atMost(0)),
                Figure("camera frames not shown", missed, "", .atMost(0)),
                Figure("readable results", 100 * readable, "%", .atLeast(99)),
                Figure("p50", latencies.percentile(0.5), "ms"),
                Figure("p95 from the capture time", fromCapture.percentile(0.95), "ms"),
                Figure("frames", Double(latencies.count)),
            ]
        }
    }

    /// Camera to canvas without a model.
    func glass() throws -> ServeBenchRow {
        let work = "camera to canvas in Chromium, passthrough, 832x480 at 16 frames/s"
        guard let browser = options.browser ?? Browser.installed else {
            return absent(.glass, work)
        }
        let rounds: [Glass] = try (0..<options.rounds).map { _ in
            try withServer(["--engine", "passthrough"]) { server in
                try session(browser, server, width: 832, height: 480, seconds: roundSeconds)
            }
        }
        let frames = rounds.first?.chunkFrames ?? 4
        let wait = 1_000 * Double(frames - 1) / Double(Self.cameraRate)
        func median(_ share: Double) -> Double {
            rounds.map { $0.latencies.percentile(share) }.median
        }
        return ServeBenchRow(
            .glass,
            work,
            [
                Figure("p95 above the chunk wait", median(0.95) - wait, "ms", .atMost(25)),
                Figure("p50", median(0.5), "ms"),
                Figure("p95", median(0.95), "ms"),
                Figure("chunk wait", wait, "ms"),
                Figure(
                    "p95 from the capture time",
                    rounds.map { $0.fromCapture.percentile(0.95) }.median,
                    "ms"
                ),
                Figure("frames dropped", rounds.map(\.dropped).median),
                Figure("camera frames not shown", rounds.map(\.missed).median),
                Figure("frames", rounds.map { Double($0.latencies.count) }.median),
            ]
        )
    }

    /// Camera to canvas with the model.
    func glassWithModel() throws -> ServeBenchRow {
        let work =
            "camera to canvas in Chromium, model, 256x256 at 16 frames/s, \(Int(options.seconds)) s"
        guard let browser = options.browser ?? Browser.installed else {
            return absent(.glassModel, work)
        }
        let glass: Glass = try withServer { server in
            try session(browser, server, width: 256, height: 256, seconds: options.seconds)
        }
        return ServeBenchRow(.glassModel, work, glass.figuresWithModel)
    }

    private func absent(_ row: ServeRow, _ work: String) -> ServeBenchRow {
        ServeBenchRow(row, work, [], note: "no Chromium in PATH: install one, or use --browser")
    }

    private func session(
        _ program: String,
        _ server: ServerProcess,
        width: Int,
        height: Int,
        seconds: Double
    ) throws -> Glass {
        let partial = PartialFolder()
        defer { partial.remove() }
        let temporary = FileManager.default.temporaryDirectory.appendingPathComponent("swan-bench")
        let folder = try partial.make(nextTo: temporary.path)
        let camera = folder + "/camera.y4m"
        try FrameCounter.writeCamera(
            camera,
            width: width,
            height: height,
            framesPerSecond: Self.cameraRate
        )
        // This prompt asks a model with styles for no change; another model's frames need not be readable.
        let settings = "prompt=original&size=\(width)x\(height)&fit=stretch"
        let browser = try Browser(
            program,
            url: "http://127.0.0.1:\(server.port)/#\(settings)",
            camera: camera,
            folder: folder + "/profile",
            on: loop
        )
        defer { browser.stop() }
        return try measure(browser, seconds: seconds)
    }

    private func measure(_ browser: Browser, seconds: Double) throws -> Glass {
        try browser.wait(until: "document.querySelector('#model')?.textContent")
        let isStarted: Bool = try browser.evaluate(
            "(document.querySelector('#start').click(), true)"
        )
        guard isStarted else { return Glass() }
        try browser.wait(until: "document.body.dataset.state === 'live'")
        sleep(Self.settlingSeconds)
        let dropped = "Number(document.querySelector('#dropped').textContent)"
        let before: Double = try browser.evaluate(dropped)
        let _: Bool = try browser.evaluate(GlassSampler.script)
        sleep(seconds)
        let record: GlassSampler.Record = try browser.evaluate("window.glass")
        let sampler = GlassSampler(record)
        var glass = Glass()
        // The page updates its count twice a second.
        sleep(0.6)
        glass.dropped = try browser.evaluate(dropped, as: Double.self) - before
        glass.latencies = sampler.latencies
        glass.fromCapture = sampler.latenciesFromCapture
        glass.missed = Double(sampler.missed)
        glass.readable = sampler.readable
        return glass
    }
}
