import ArgumentParser
import Foundation
import SwanPipelines

/// How to show progress on standard error.
enum ProgressStyle: String, ExpressibleByArgument, CaseIterable {
    case auto, bar, plain, json, none

    /// The style that `auto` stands for: a bar on a terminal, otherwise plain lines. With `--quiet`, only what
    /// is for programs is written.
    var chosen: ProgressStyle {
        let terminal = Terminal.standardError
        if terminal.isQuiet { return self == .json ? .json : .none }
        return self == .auto ? (terminal.isInteractive ? .bar : .plain) : self
    }
}

/// Shows the progress of a stream.
struct ProgressDisplay {
    private let style: ProgressStyle
    private let terminal = Terminal.standardError
    private var lastShown: ContinuousClock.Instant?
    private var lastStage: StreamProgress.Stage?
    private var record = ProgressRecord()

    /// Creates a display; `auto` draws a bar on a terminal and prints plain lines otherwise.
    init(_ style: ProgressStyle) {
        self.style = style.chosen
    }

    /// Shows the progress, unless it was updated a moment ago.
    mutating func show(_ progress: StreamProgress) {
        if style != .plain, progress.framesOut > 0 { record.add(ProgressLine.plain(progress)) }
        let now = ContinuousClock.now
        let isNewStage = progress.stage != lastStage
        let interval: Duration = style == .plain ? .seconds(5) : .milliseconds(80)
        guard isNewStage || lastShown.map({ now - $0 >= interval }) ?? true else { return }
        // The interval to the first line starts with the first frame.
        lastShown = now
        lastStage = progress.stage
        switch style {
        case .bar: terminal.draw { ProgressLine.bar(progress, columns: $0) }
        case .plain:
            guard progress.stage == .streaming, progress.framesOut > 0 else { return }
            terminal.write(kind: .note, ProgressLine.plain(progress))
        case .json: terminal.write(line: ProgressLine.json(progress))
        case .auto, .none: break
        }
    }

    /// Removes the bar and prints a summary.
    func end(_ summary: StreamSummary) {
        terminal.clear()
        let text = ProgressLine.summary(summary)
        switch style {
        case .bar, .plain: return terminal.write(kind: .note, text)
        case .json: terminal.write(line: ProgressLine.json(summary))
        case .auto, .none: break
        }
        terminal.record(text)
    }
}

/// Formats the progress of a stream.
enum ProgressLine {
    /// A progress bar, followed by as much detail as fits.
    static func bar(_ progress: StreamProgress, columns: Int) -> String {
        guard progress.stage == .streaming else {
            let text = progress.stage == .loading ? "loading the model" : "finishing the file"
            return String(text.prefix(columns))
        }
        let fps = String(format: "%.1f fps", progress.fps)
        let left = progress.remainingSeconds.map { time($0) }
        guard let total = progress.total else {
            let parts = ["\(progress.framesOut) frames", fps, time(progress.seconds)]
            return widest(parts, columns)
        }
        let share = min(1, Double(progress.framesOut) / Double(max(1, total)))
        let percent = "\(Int(share * 100))%"
        let short = [percent, fps, left ?? ""]
        let long = [percent, "\(progress.framesOut)/\(total)", fps, left.map { "ETA \($0)" } ?? ""]
        for parts in [long, short] {
            let text = parts.filter { !$0.isEmpty }.joined(separator: "  ")
            let room = columns - text.count - 3
            guard room >= 8 else { continue }
            let filled = Int(share * Double(min(room, 40)))
            let bar =
                String(repeating: "#", count: filled)
                + String(repeating: ".", count: min(room, 40) - filled)
            return "[\(bar)] \(text)"
        }
        return widest(short, columns)
    }

    /// The first parts, as many as fit.
    private static func widest(_ parts: [String], _ columns: Int) -> String {
        var line = ""
        for part in parts where !part.isEmpty {
            let longer = line.isEmpty ? part : line + " " + part
            guard longer.count <= columns else { break }
            line = longer
        }
        return line
    }

    /// A plain log line.
    static func plain(_ progress: StreamProgress) -> String {
        let total = progress.total.map { " of \($0)" } ?? ""
        let left = progress.remainingSeconds.map { ", \(time($0)) left" } ?? ""
        return "\(progress.framesOut)\(total) frames, "
            + String(format: "%.1f fps", progress.fps) + left
    }

    /// A JSON line.
    static func json(_ progress: StreamProgress) -> String {
        struct Line: Encodable {
            let event = "progress"
            let stage: String
            let framesIn, framesOut: Int
            let framesTotal: Int?
            let fps: Double
            let remainingSeconds: Double?
            private enum CodingKeys: String, CodingKey {
                case event, stage, framesIn = "frames_in", framesOut = "frames_out"
                case framesTotal = "frames_total", fps, remainingSeconds = "eta_seconds"
            }
        }
        return line(
            Line(
                stage: progress.stage.rawValue,
                framesIn: progress.framesIn,
                framesOut: progress.framesOut,
                framesTotal: progress.total,
                fps: progress.fps,
                remainingSeconds: progress.remainingSeconds
            )
        )
    }

    /// The final JSON line.
    static func json(_ summary: StreamSummary) -> String {
        struct Line: Encodable {
            let event = "done"
            let framesIn, framesOut: Int
            let seconds, fps: Double
            let output: String
            private enum CodingKeys: String, CodingKey {
                case event, framesIn = "frames_in", framesOut = "frames_out", seconds, fps, output
            }
        }
        return line(
            Line(
                framesIn: summary.framesIn,
                framesOut: summary.framesOut,
                seconds: summary.seconds,
                fps: summary.fps,
                output: summary.output
            )
        )
    }

    private static func line(_ value: some Encodable) -> String {
        String(JSONLine.text(value).dropLast())
    }

    /// A summary line.
    static func summary(_ summary: StreamSummary) -> String {
        guard summary.framesOut > 0 else { return "no frame was completed; nothing was written" }
        let first = summary.firstFrameSeconds.map {
            String(format: ", first frame after %.2f s", $0)
        }
        let output = summary.output == "-" ? "standard output" : summary.output
        return "\(output): \(summary.framesOut) frames of \(summary.width)x\(summary.height) in "
            + String(format: "%.1f s, %.1f fps", summary.seconds, summary.fps) + (first ?? "")
    }

    /// Seconds as `m:ss` or `h:mm:ss`.
    static func time(_ seconds: Double) -> String {
        let whole = Int(min(max(seconds, 0), 359_999).rounded(.up))
        let (hours, minutes) = (whole / 3_600, whole / 60 % 60)
        return hours > 0
            ? String(format: "%d:%02d:%02d", hours, minutes, whole % 60)
            : String(format: "%d:%02d", minutes, whole % 60)
    }
}
