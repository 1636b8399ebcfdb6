import ArgumentParser
import Foundation
import Logging
import SwanMedia
import SwanPipelines
import Torch

/// Runs a live stream for the command line.
struct LiveJob {
    let request: LiveStreamRequest
    let json: String?
    let progress: ProgressStyle
    let log: Logger
    /// The ranks that run it together, of which this is the first; nil for this process alone.
    let ranks: StagedRanks?

    /// Runs the stream, and writes its summary.
    func run(_ overwriting: OverwriteOption) throws {
        var request = request
        var files = try request.files()
        if let json { files.outputs.append(.file(json)) }
        request.stream.overwrites = try overwriting.permit(files)
        let stream = try LiveStream(request, over: ranks, log: log)
        let report = try JSONReport(json, replaces: request.stream.overwrites)
        let messages = StopSignals.Messages(
            stopping: "ending the stream (repeat to exit at once)",
            abandoned: "stopped"
        )
        let signals = try StopSignals(messages, stop: { stream.stop() }, abandon: {})
        var display = LiveDisplay(progress)
        Engine.sleepWhileWaiting()
        try ReportedJob(signals: signals, report: report, log: log).run {
            let summary = try stream.run { display.show($0) }
            display.end(summary)
            return try summary.json()
        }
    }
}

/// Shows the progress of a live stream on standard error.
struct LiveDisplay {
    private let style: ProgressStyle
    private let terminal = Terminal.standardError
    private var lastShown: ContinuousClock.Instant?
    private var lastStage: StreamProgress.Stage?
    private var record = ProgressRecord()

    init(_ style: ProgressStyle) {
        self.style = style.chosen
    }

    /// Shows the progress, unless it was updated a moment ago.
    mutating func show(_ progress: LiveProgress) {
        if style != .plain { record.add(LiveLine.text(progress)) }
        let now = ContinuousClock.now
        let isNewStage = progress.stream.stage != lastStage
        let interval: Duration = style == .plain ? .seconds(5) : .milliseconds(250)
        guard isNewStage || lastShown.map({ now - $0 >= interval }) ?? true else { return }
        lastShown = now
        lastStage = progress.stream.stage
        switch style {
        case .bar: terminal.draw { String(LiveLine.text(progress).prefix($0)) }
        case .plain:
            guard progress.stream.stage == .streaming else { return }
            terminal.write(kind: .note, LiveLine.text(progress))
        case .json: terminal.write(line: LiveLine.json(progress))
        case .auto, .none: break
        }
    }

    /// Removes the bar and prints a summary.
    func end(_ summary: StreamSummary) {
        terminal.clear()
        let text = LiveLine.summary(summary)
        switch style {
        case .bar, .plain: return terminal.write(kind: .note, text)
        case .json: terminal.write(line: ProgressLine.json(summary))
        case .auto, .none: break
        }
        terminal.record(text)
    }
}

/// Formats the progress of a live stream.
enum LiveLine {
    /// One line: rates, latency and drops.
    static func text(_ progress: LiveProgress) -> String {
        switch progress.stream.stage {
        case .loading: return "loading the model"
        case .finishing: return "ending the stream"
        case .streaming: break
        }
        var parts = [
            String(format: "%.1f fps in, %.1f fps out", progress.fpsIn, progress.fpsOut)
        ]
        if let latency = progress.latency {
            parts.append(String(format: "latency %.0f ms (p95 %.0f)", latency.p50, latency.p95))
        }
        if progress.drops.total > 0 { parts.append("dropped \(text(progress.drops))") }
        if progress.isPaused { parts.append("paused") }
        return parts.joined(separator: ", ")
    }

    /// The causes of drops that happened.
    static func text(_ drops: FrameDrops) -> String {
        let causes = [
            ("starting", drops.starting), ("busy", drops.busy), ("paused", drops.paused),
            ("output", drops.output), ("early", drops.early),
        ]
        let named = causes.filter { $0.1 > 0 }.map { "\($0.1) \($0.0)" }
        return "\(drops.total) (\(named.joined(separator: ", ")))"
    }

    /// A JSON line.
    static func json(_ progress: LiveProgress) -> String {
        struct Latency: Encodable {
            let p50, p95: Double
        }
        struct Line: Encodable {
            let event = "progress"
            let stage: String
            let framesIn, framesOut: Int
            let fps, fpsIn, fpsOut: Double
            let latency: Latency?
            let drops: FrameDrops
            let paused: Bool
            private enum CodingKeys: String, CodingKey {
                case event, stage, framesIn = "frames_in", framesOut = "frames_out", fps
                case fpsIn = "fps_in", fpsOut = "fps_out", latency = "latency_ms", drops, paused
            }
        }
        let line = Line(
            stage: progress.stream.stage.rawValue,
            framesIn: progress.stream.framesIn,
            framesOut: progress.stream.framesOut,
            fps: progress.stream.fps,
            fpsIn: progress.fpsIn,
            fpsOut: progress.fpsOut,
            latency: progress.latency.map { Latency(p50: $0.p50, p95: $0.p95) },
            drops: progress.drops,
            paused: progress.isPaused
        )
        return String(JSONLine.text(line).dropLast())
    }

    /// A summary line.
    static func summary(_ summary: StreamSummary) -> String {
        let output = summary.output == "-" ? "standard output" : summary.output
        var text =
            "\(output): \(summary.framesOut) frames of \(summary.width)x\(summary.height) in "
        text += String(format: "%.1f s, %.1f fps", summary.seconds, summary.fps)
        if let latency = summary.live?.latency {
            text += String(format: ", latency %.0f ms (p95 %.0f)", latency.p50, latency.p95)
        }
        if let drops = summary.live?.drops, drops.total > 0 {
            text += ", dropped \(self.text(drops))"
        }
        return text
    }
}
