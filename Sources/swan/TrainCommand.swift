import ArgumentParser
import Foundation
import Logging
import SwanTraining
import Torch

/// `swan train`: a model by a recipe.
struct TrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train",
        abstract: "Train a model by a recipe.",
        discussion: """
            The output folder is a model for 'swan stream --model'. A run that was ended, by Ctrl-C or by \
            anything else, goes on with --resume and gives the weights that it would have given.

            EXAMPLE:
              swan train configs/tiny.yaml --data .deps/training --output out/tiny
            """
    )

    @Argument(help: "The recipe, a YAML file.")
    var recipe: String

    @Option(name: .shortAndLong, help: "The folder of the model.")
    var output: String

    @Option(help: "The folder that the recipe's footage is in.")
    var data = "."

    @Flag(help: "Go on with what is in the output folder.")
    var resume = false

    @Option(help: "auto (a GPU if there is one), cpu, cuda or cuda:N.")
    var device = DeviceName(name: "auto")

    @Option(help: "How progress is shown; auto and bar are plain lines.")
    var progress = ProgressStyle.auto

    func run() throws {
        LoggingSystem.bootstrap { _ in TerminalLog() }
        let display = TrainingDisplay(progress)
        let stop = StopRequest()
        let words = StopSignals.Words(
            stopping: "stopping after this step with a checkpoint (once more to end at once)",
            ended: "stopped; --resume goes on from the last checkpoint"
        )
        let signals = try StopSignals(words, stop: stop.make, abandon: {})
        let recipe = try Recipe(contentsOf: recipe)
        let device = try Device(named: device.name)
        // Asked for where memory is short.
        if recipe.checkpointsGradients { Engine.returnFreedMemory() }
        if device == .cpu, recipe.usesBFloat16, !Engine.multiplies(.bfloat16) {
            Terminal.standardError.write(
                kind: .warning,
                "this processor has no instructions for bfloat16: float32 is faster on it"
            )
        }
        do {
            try Trainer.run(
                recipe: recipe,
                root: data,
                output: output,
                resume: resume,
                device: device,
                stop: stop,
                onProgress: display.show
            )
        } catch let error as TrainingError where error.code == .interrupted {
            Terminal.standardError.write(kind: .note, error.message)
            throw ExitCode(signals.exitCode ?? Leave.code(for: error))
        }
    }
}

/// Shows how far training is.
private struct TrainingDisplay {
    private let style: ProgressStyle

    init(_ style: ProgressStyle) {
        self.style = style
        if style == .json { Terminal.standardError.use(.json) }
    }

    func show(_ progress: TrainingProgress) {
        switch style {
        case .none: return
        case .json: Terminal.standardError.write(line: Self.json(progress))
        case .auto, .bar, .plain:
            let losses = progress.losses.sorted { $0.key < $1.key }
                .map { String(format: "%@ %.4f", $0.key, $0.value) }
            let speed = String(format: "%.2f s a step", progress.secondsPerStep)
            let left = ProgressLine.time(progress.remainingSeconds)
            let parts =
                ["\(progress.stage) \(progress.step)/\(progress.steps)"] + losses
                + [speed, "\(left) left of this stage"]
            Terminal.standardError.write(kind: .note, parts.joined(separator: ", "))
        }
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
}
