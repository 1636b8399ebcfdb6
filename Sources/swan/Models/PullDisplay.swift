import Foundation
import SwanHub
import SwanStore
import SwanSystem

/// Shows the progress of a pull.
struct PullDisplay {
    private let style: ProgressStyle
    private let terminal = Terminal.standardError
    private var lastShown: ContinuousClock.Instant?
    private var lastFiles = -1

    /// Creates a display; `auto` draws a bar on a terminal and prints plain lines otherwise.
    init(_ style: ProgressStyle) {
        self.style = style == .auto ? (Terminal.standardError.isInteractive ? .bar : .plain) : style
        if style == .json { Terminal.standardError.use(.json) }
    }

    /// Shows what happens; progress not more often than can be read.
    mutating func show(_ event: PullEvent) {
        guard case .progress(let progress) = event else {
            if case .note(let text) = event, style != .none { terminal.write(kind: .note, text) }
            return
        }
        let now = ContinuousClock.now
        let interval: Duration = style == .plain ? .seconds(5) : .milliseconds(80)
        let isComplete = progress.files != lastFiles && progress.files == progress.totalFiles
        guard isComplete || lastShown.map({ now - $0 >= interval }) ?? true else { return }
        (lastShown, lastFiles) = (now, progress.files)
        switch style {
        case .bar: terminal.draw { PullLine.bar(progress, columns: $0) }
        case .plain: terminal.write(kind: .note, PullLine.plain(progress))
        case .json: terminal.write(line: PullLine.json(progress))
        case .auto, .none: break
        }
    }

    /// Removes the bar.
    func clear() { terminal.clear() }

    /// Removes the bar and prints a summary.
    func end(_ model: StoredModel) {
        terminal.clear()
        let record = model.record
        switch style {
        case .bar, .plain:
            let license = record.license.map { "; license: \($0)" } ?? ""
            let count = record.files.count
            terminal.write(
                kind: .note,
                "\(record.name): \(count) \(count == 1 ? "file" : "files"), "
                    + ByteSize.text(record.bytes) + license
            )
        case .json: terminal.write(line: PullLine.json(record, model.location))
        case .auto, .none: break
        }
    }
}

/// Formats the progress of a pull.
enum PullLine {
    /// A progress bar, followed by as much detail as fits.
    static func bar(_ progress: PullProgress, columns: Int) -> String {
        let counted = ByteSize.text(progress.bytes) + " of " + ByteSize.text(progress.totalBytes)
        let speed = progress.speed > 0 ? "  \(ByteSize.text(Int(progress.speed)))/s" : ""
        let left = progress.remainingSeconds.map { "  ETA \(ProgressLine.time($0))" } ?? ""
        let share = min(1, Double(progress.bytes) / Double(max(1, progress.totalBytes)))
        for text in [counted + speed + left, counted + speed, counted] {
            let room = columns - text.count - 3
            guard room >= 8 else { continue }
            let width = min(room, 40)
            let filled = Int(share * Double(width))
            return "[" + String(repeating: "#", count: filled)
                + String(repeating: ".", count: width - filled) + "] " + text
        }
        return String(counted.prefix(columns))
    }

    /// A plain log line.
    static func plain(_ progress: PullProgress) -> String {
        let left = progress.remainingSeconds.map { ", \(ProgressLine.time($0)) left" } ?? ""
        let speed = progress.speed > 0 ? ", \(ByteSize.text(Int(progress.speed)))/s" : ""
        return "\(progress.name): \(ByteSize.text(progress.bytes)) of "
            + "\(ByteSize.text(progress.totalBytes)), file \(progress.files) of "
            + "\(progress.totalFiles)\(speed)\(left)"
    }

    /// A JSON line.
    static func json(_ progress: PullProgress) -> String {
        struct Line: Encodable {
            let event = "progress"
            let name: String
            let bytes, bytesTotal, files, filesTotal: Int
            let bytesPerSecond: Double
            let remainingSeconds: Double?
            private enum CodingKeys: String, CodingKey {
                case event, name, bytes, bytesTotal = "bytes_total", files
                case filesTotal = "files_total", bytesPerSecond = "bytes_per_second"
                case remainingSeconds = "eta_seconds"
            }
        }
        return JSONLine.text(
            Line(
                name: progress.name,
                bytes: progress.bytes,
                bytesTotal: progress.totalBytes,
                files: progress.files,
                filesTotal: progress.totalFiles,
                bytesPerSecond: progress.speed,
                remainingSeconds: progress.remainingSeconds
            )
        ).trimmingCharacters(in: .newlines)
    }

    /// The final JSON line.
    static func json(_ record: PulledModel, _ path: String) -> String {
        struct Line: Encodable {
            let event = "done"
            let name, path: String
            let bytes: Int
        }
        return JSONLine.text(Line(name: record.name, path: path, bytes: record.bytes))
            .trimmingCharacters(in: .newlines)
    }
}
