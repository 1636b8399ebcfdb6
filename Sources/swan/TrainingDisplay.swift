import Foundation
import SwanSystem
import SwanTraining
import Synchronization

/// Shows the progress of training: a line when a phase begins, after steps, and every few seconds in which there is
/// nothing new.
final class TrainingDisplay: Sendable {
    private struct State {
        /// What is going on, and since when.
        var phase: String?
        var began = ContinuousClock.now
        /// When a line was last written.
        var shown = ContinuousClock.now
        var last: TrainingProgress?
        var isOver = false
    }

    /// The longest time without a line.
    private let silence: Duration
    /// Writes a line about a phase.
    private let write: @Sendable (String) -> Void
    private let style: ProgressStyle
    private let created = ContinuousClock.now
    private let state = Mutex(State())

    /// Creates a display.
    ///
    /// - Parameters:
    ///   - silence: The longest time without a line.
    ///   - write: Writes a line about a phase; nil for the terminal.
    init(
        _ style: ProgressStyle,
        silence: Duration = .seconds(5),
        write: (@Sendable (String) -> Void)? = nil
    ) {
        let isJSON = style.chosen == .json
        (self.style, self.silence) = (style.chosen, silence)
        self.write =
            write ?? { line in
                guard isJSON else { return Terminal.standardError.write(kind: .note, line) }
                Terminal.standardError.write(line: line)
            }
    }

    /// Starts the thread that writes when nothing else is written. `StopSignals` must have been made.
    func start() throws(SwanError) {
        guard style != .none else { return }
        let pause = UInt32(min(200_000, max(1_000, silence.seconds * 1e6 / 4)))
        try startThread("swan.progress") { [self] in
            while !state.withLock({ $0.isOver }) {
                usleep(pause)
                repeatPhase()
            }
        }
    }

    /// Ends the thread.
    func end() {
        state.withLock { $0.isOver = true }
    }

    /// Says what begins.
    func begin(_ phase: String) {
        state.withLock { state in
            (state.phase, state.began, state.shown) = (phase, .now, .now)
        }
        write(phase: phase, seconds: 0)
    }

    private func repeatPhase() {
        let now = ContinuousClock.now
        let due: (phase: String, seconds: Double)? = state.withLock { state in
            guard !state.isOver, let phase = state.phase, now - state.shown >= silence else {
                return nil
            }
            state.shown = now
            return (phase, (now - state.began).seconds)
        }
        if let due { write(phase: due.phase, seconds: due.seconds) }
    }

    private func write(phase: String, seconds: Double) {
        switch style {
        case .none: return
        case .json:
            write(String(JSONLine.text(PhaseLine(phase: phase, seconds: seconds)).dropLast()))
        case .auto, .bar, .plain:
            write(phase + (seconds > 0 ? ", for \(ProgressLine.time(seconds)) now" : ""))
        }
    }

    private struct PhaseLine: Encodable {
        let event = "phase"
        let phase: String
        let seconds: Double
    }

    /// Shows what steps have brought.
    func show(_ progress: TrainingProgress) {
        state.withLock { state in
            state.last = progress
            state.phase = "\(progress.stage) \(progress.step)/\(progress.steps): the next steps"
            (state.began, state.shown) = (.now, .now)
        }
        if let warning = progress.warning {
            Terminal.standardError.write(kind: .warning, warning)
        }
        if style == .none || style == .json { Terminal.standardError.record(Self.text(progress)) }
        switch style {
        case .none: return
        case .json: Terminal.standardError.write(line: Self.json(progress))
        case .auto, .bar, .plain:
            Terminal.standardError.write(kind: .note, Self.text(progress))
        }
    }

    private static func text(_ progress: TrainingProgress) -> String {
        let losses = progress.losses.sorted { $0.key < $1.key }
            .map { String(format: "%@ %.4f", $0.key, $0.value) }
        let speed = String(format: "%.2f s per step", progress.secondsPerStep)
        let left = ProgressLine.time(progress.remainingSeconds)
        let parts =
            ["\(progress.stage) \(progress.step)/\(progress.steps)"] + losses
            + [speed, "\(left) left in this stage"]
        return parts.joined(separator: ", ")
    }

    private static func json(_ progress: TrainingProgress) -> String {
        struct Line: Encodable {
            let event = "progress"
            let stage: String
            let step, steps: Int
            let losses: [String: Double]
            let gradientNorm, learningRate, etaSeconds: Double
            private enum CodingKeys: String, CodingKey {
                case event, stage, step, steps, losses, gradientNorm = "gradient_norm"
                case learningRate = "learning_rate", etaSeconds = "eta_seconds"
            }
        }
        let line = Line(
            stage: progress.stage,
            step: progress.step,
            steps: progress.steps,
            losses: progress.losses,
            gradientNorm: progress.gradientNorm,
            learningRate: progress.learningRate,
            etaSeconds: progress.remainingSeconds
        )
        return String(JSONLine.text(line).dropLast())
    }

    /// What a training that has ended was, for `--json`.
    struct Summary: Encodable {
        let output: String
        let seconds: Double
        let stage: String?
        let steps: Int?
        let losses: [String: Double]?
    }

    /// The summary of a training that has ended.
    func summary(output: String) -> Summary {
        let last = state.withLock { $0.last }
        return Summary(
            output: output,
            seconds: (ContinuousClock.now - created).seconds,
            stage: last?.stage,
            steps: last?.steps,
            losses: last?.losses
        )
    }
}
