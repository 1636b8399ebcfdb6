import Foundation
import SwanMedia
import SwanPipelines
import SwanCheckpoints

/// Shows the progress and previews of a generation.
struct GenerationDisplay {
    private let style: ProgressStyle
    private let previewFile: String?
    private let terminal = Terminal.standardError
    private var lastShown: ContinuousClock.Instant?
    private var lastStage: GenerationProgress.Stage?
    private var record = ProgressRecord()

    /// Creates a display; `auto` draws a bar on a terminal and prints plain lines otherwise.
    ///
    /// - Parameter previewFile: The file for previews; nil for the terminal.
    init(_ style: ProgressStyle, previewFile: String?) {
        self.style = style.chosen
        self.previewFile = previewFile
    }

    /// Shows the progress, unless it was updated a moment ago.
    mutating func show(_ progress: GenerationProgress) throws {
        if let image = progress.preview {
            if let previewFile {
                try writePNG(image, previewFile)
            } else if style == .bar {
                terminal.write(
                    line: TerminalImage.text(image, columns: min(64, terminal.columns))
                )
            }
            return
        }
        if style != .plain { record.add(GenerationLine.plain(progress)) }
        let now = ContinuousClock.now
        let isNewStage = progress.stage != lastStage
        let interval: Duration = style == .plain ? .seconds(5) : .milliseconds(80)
        guard isNewStage || lastShown.map({ now - $0 >= interval }) ?? true else { return }
        lastShown = now
        lastStage = progress.stage
        switch style {
        case .bar: terminal.draw { GenerationLine.bar(progress, columns: $0) }
        case .plain: terminal.write(kind: .note, GenerationLine.plain(progress))
        case .json: terminal.write(line: GenerationLine.json(progress))
        case .auto, .none: break
        }
    }

    /// Removes the bar and prints a summary.
    func end(_ summary: GenerationSummary) {
        terminal.clear()
        switch style {
        case .bar, .plain:
            for line in GenerationLine.summary(summary) { terminal.write(kind: .note, line) }
        case .json: terminal.write(line: GenerationLine.json(summary))
        case .auto, .none: break
        }
        guard style != .bar, style != .plain else { return }
        for line in GenerationLine.summary(summary) { terminal.record(line) }
    }
}

/// Formats the progress of a generation.
enum GenerationLine {
    /// A progress bar, followed by as much detail as fits.
    static func bar(_ progress: GenerationProgress, columns: Int) -> String {
        let what = label(progress.stage)
        let which = progress.of > 1 ? "\(progress.video)/\(progress.of) " : ""
        guard progress.total > 0 else { return String((which + what).prefix(columns)) }
        let share = Double(progress.done) / Double(progress.total)
        let left = progress.remainingSeconds.map { "  ETA \(ProgressLine.time($0))" } ?? ""
        let counted = "\(progress.done)/\(progress.total)"
        for text in ["\(which)\(what) \(counted)\(left)", "\(which)\(counted)\(left)", counted] {
            let room = columns - text.count - 3
            guard room >= 8 else { continue }
            let width = min(room, 40)
            let filled = Int(share * Double(width))
            let bar =
                String(repeating: "#", count: filled)
                + String(repeating: ".", count: width - filled)
            return "[\(bar)] \(text)"
        }
        return String(counted.prefix(columns))
    }

    /// A plain log line.
    static func plain(_ progress: GenerationProgress) -> String {
        let which = progress.of > 1 ? "video \(progress.video) of \(progress.of): " : ""
        let counted = progress.total > 0 ? " \(progress.done) of \(progress.total)" : ""
        let left = progress.remainingSeconds.map { ", \(ProgressLine.time($0)) left" } ?? ""
        return which + label(progress.stage) + counted + left
    }

    /// A JSON line.
    static func json(_ progress: GenerationProgress) -> String {
        struct Line: Encodable {
            let event = "progress"
            let stage: String
            let part: String?
            let video, videos, done, total: Int
            let remainingSeconds: Double?
            private enum CodingKeys: String, CodingKey {
                case event, stage, part, video, videos, done, total
                case remainingSeconds = "eta_seconds"
            }
        }
        let (stage, part): (String, String?) =
            switch progress.stage {
            case .loading(let part): ("loading", part.rawValue)
            case .denoising: ("denoising", nil)
            case .decoding: ("decoding", nil)
            }
        return JSONLine.text(
            Line(
                stage: stage,
                part: part,
                video: progress.video,
                videos: progress.of,
                done: progress.done,
                total: progress.total,
                remainingSeconds: progress.remainingSeconds
            )
        ).trimmingCharacters(in: .newlines)
    }

    /// The final JSON line.
    static func json(_ summary: GenerationSummary) -> String {
        struct Line: Encodable {
            let event = "done"
            let seconds: Double
            let outputs: [String]
        }
        return JSONLine.text(
            Line(seconds: summary.seconds, outputs: summary.videos.map(\.output))
        ).trimmingCharacters(in: .newlines)
    }

    /// A summary line per video.
    static func summary(_ summary: GenerationSummary) -> [String] {
        guard !summary.videos.isEmpty else {
            return ["no video was completed; nothing was written"]
        }
        return summary.videos.map { video in
            let output = video.output == "-" ? "standard output" : video.output
            let step = summary.secondsPerStep.map { String(format: ", %.3g s per step", $0) } ?? ""
            let reused =
                video.reusedSteps > 0 ? " (\(video.reusedSteps) reused from the cache)" : ""
            return "\(output): \(summary.frames) frames of \(summary.width)x\(summary.height) in "
                + ProgressLine.time(video.seconds) + ", \(summary.steps) steps\(reused)\(step), "
                + "seed \(video.seed)"
        }
    }

    private static func label(_ stage: GenerationProgress.Stage) -> String {
        switch stage {
        case .denoising: "step"
        case .decoding: "decoding frame"
        case .loading(.textEncoder), .loading(.tokenizer): "encoding the prompt"
        case .loading(.imageEncoder): "encoding the image"
        case .loading(.vae): "loading the autoencoder"
        case .loading(.transformer), .loading(.lowNoiseTransformer): "loading the transformer"
        }
    }
}

/// Draws an image on a 24-bit color terminal, with two vertically stacked pixels per character.
enum TerminalImage {
    static func text(_ image: VideoFrame, columns: Int) -> String {
        let width = min(columns, image.width)
        let height = max(2, image.height * width / image.width / 2 * 2)
        func color(_ row: Int, _ column: Int) -> String {
            let (y, x) = (row * image.height / height, column * image.width / width)
            let start = 3 * (y * image.width + x)
            return image.pixels[start..<(start + 3)].map(String.init).joined(separator: ";")
        }
        let rows = stride(from: 0, to: height, by: 2).map { row in
            (0..<width).map { column in
                "\u{1B}[38;2;\(color(row, column))m\u{1B}[48;2;\(color(row + 1, column))m▀"
            }.joined() + "\u{1B}[0m"
        }
        return rows.joined(separator: "\n")
    }
}
