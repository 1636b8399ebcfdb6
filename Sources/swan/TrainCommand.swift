import ArgumentParser
import Foundation
import Logging
import SwanThreads
import SwanTiny
import SwanTraining
import Torch
import SwanSystem

/// `swan train`: trains a model from a recipe.
struct TrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train",
        abstract: "Train a model from a recipe.",
        discussion: """
            The output folder is a model for 'swan stream --model'. An interrupted run continues with \
            --resume and ends with the weights it would otherwise have had.

            EXAMPLE:
              swan train configs/tiny.yaml --data .deps/training --output out/tiny
            """
    )

    @Argument(help: "The recipe, a YAML file.")
    var recipe: String

    @Option(name: .shortAndLong, help: "The folder to write the model to.")
    var output: String

    @Option(help: "The folder that contains the recipe's footage.")
    var data = "."

    @Flag(help: "Continue the run in the output folder.")
    var resume = false

    @Option(help: "The device to run on: auto (a GPU if available), cpu, cuda or cuda:N.")
    var device = DeviceName(name: "auto")

    @Option(help: "How to show progress; auto and bar print plain lines.")
    var progress = ProgressStyle.auto

    func run() throws {
        LoggingSystem.bootstrap { _ in TerminalLog() }
        let display = TrainingDisplay(progress)
        let stop = CancellationFlag()
        let messages = StopSignals.Messages(
            stopping: "stopping with a checkpoint after this step (repeat to stop immediately)",
            abandoned: "stopped; --resume continues from the last checkpoint"
        )
        let signals = try StopSignals(messages, stop: stop.cancel, abandon: {})
        let recipe = try Recipe(contentsOf: recipe)
        let device = try Device(named: device.name)
        // Gradient checkpointing is used when memory is short.
        if recipe.checkpointsGradients { Engine.returnFreedMemory() }
        if device == .cpu, recipe.usesBFloat16, !Engine.multiplies(.bfloat16) {
            Terminal.standardError.write(
                kind: .warning,
                "this processor has no bfloat16 instructions; float32 is faster"
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
        } catch let error as SwanError where error.code == .interrupted {
            Terminal.standardError.write(kind: .note, error.message)
            throw ExitCode(signals.exitCode ?? ExitStatus.code(for: error))
        }
    }
}

/// Shows the progress of training.
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
            let speed = String(format: "%.2f s per step", progress.secondsPerStep)
            let left = ProgressLine.time(progress.remainingSeconds)
            let parts =
                ["\(progress.stage) \(progress.step)/\(progress.steps)"] + losses
                + [speed, "\(left) left in this stage"]
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
