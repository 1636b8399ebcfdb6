import ArgumentParser
import Foundation
import Logging
import SwanDistillation
import SwanDistributed
import SwanFineTuning
import SwanThreads
import SwanTiny
import SwanTraining
import Torch
import SwanSystem

/// `swan train`: trains a model from a recipe.
struct TrainCommand: RankedCommand {
    static let configuration = CommandConfiguration(
        commandName: "train",
        abstract: "Train a model from a recipe, distill one to few steps, or fine-tune one.",
        discussion: """
            A file with 'distillation_loss' is a distillation, with the keys of CausVid and StreamDiffusionV2; \
            it starts from a Wan checkpoint. One with 'student_config' makes a small model for pictures of \
            one; the options for a student are also keys of its file, with underscores. One with 'fine_tuning' \
            trains a LoRA, or all weights of a model.

            The output folder is a model for 'swan stream --model'. An interrupted run continues with \
            --resume and ends with the weights it would otherwise have had.

            EXAMPLES:
              swan train configs/tiny.yaml --data .deps/training --output out/tiny
              swan train configs/wan_causal_dmd_v2v.yaml --output out/student
              swan train configs/wan_2d_student.yaml --teacher-path Wan2.2-T2V-A14B --output out/student
              swan train my-lora.yaml --output out/my-lora
              swan launch --nproc 4 -- train recipe.yaml --output out/model --shard full
            """
    )

    @Argument(help: "The recipe, a YAML file.")
    var recipe: String

    @Option(name: .shortAndLong, help: "The folder to write the model to.")
    var output: String

    @Option(help: "The folder that the recipe's paths are relative to.")
    var data = "."

    @Flag(help: "Continue the run in the output folder.")
    var resume = false

    @Option(
        help: ArgumentHelp(
            "In a distillation or a fine-tuning, stop after N steps.",
            valueName: "n"
        )
    )
    var maxSteps: Int?

    @Flag(help: "In a distillation or a fine-tuning, write no checkpoints, only the result.")
    var noSave = false

    @Flag(help: "In a distillation or a fine-tuning, make no samples.")
    var noVisualize = false

    @Option(help: "The device to run on: auto (a GPU if available), cpu, cuda or cuda:N.")
    var device = DeviceName(name: "auto")

    @Option(
        help: ArgumentHelp(
            "Over several processes, let N groups of them compute different micro-batches.",
            valueName: "n"
        )
    )
    var dataParallel: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Over several processes, divide the tokens of a micro-batch among N of them.",
            valueName: "n"
        )
    )
    var sequenceParallel: Int?

    @Option(
        help: ArgumentHelp(
            """
            What of the transformer's weights and the optimizer's state each process keeps: everything \
            (none), a part (full), or a part of its machine's copy (hybrid).
            """,
            valueName: "none|full|hybrid"
        )
    )
    var shard: Sharding?

    @OptionGroup(title: "Options for a student for pictures")
    var student: TrainStudentOptions

    @Option(help: "How to show progress; auto and bar print plain lines.")
    var progress = ProgressStyle.auto

    var messageFormat: Terminal.Format { progress == .json ? .json : .text }

    func run() throws {
        LoggingSystem.bootstrap { _ in TerminalLog() }
        let name = try Ranks.launch?.ownDevice(named: device.name) ?? device.name
        let device = try Device(named: name)
        let job = RankedJob(device: "\(device)", deadline: .seconds(600))
        try Ranks.run(job) { world in try train(on: device, world) }
    }

    private func train(on device: Device, _ world: World?) throws {
        let display = TrainingDisplay(progress)
        let stop = CancellationFlag()
        let messages = StopSignals.Messages(
            stopping: "stopping with a checkpoint after this step (repeat to stop immediately)",
            abandoned: "stopped; --resume continues from the last checkpoint"
        )
        // The other ranks need this one until they have agreed to stop, even if all is saved.
        let isRank = world != nil
        let signals = try StopSignals(
            messages,
            stop: {
                let hasUnsavedWork = stop.cancel()
                return hasUnsavedWork || isRank
            },
            abandon: {}
        )
        do {
            let overrides = student.overrides
            if let file = try StudentSettings.File(recipe, overrides, root: data) {
                try makeStudent(file, on: device, world, stop, display)
            } else if let name = overrides.keys.min() {
                throw ValidationError(
                    "--\(name.replacingOccurrences(of: "_", with: "-")) is for a student for pictures; "
                        + "\(recipe) has no student_config"
                )
            } else if let distillation = try Distillation.File(recipe) {
                try distill(distillation, on: device, world, stop, display)
            } else if let tuning = try FineTuning.File(recipe) {
                try fineTune(tuning, on: device, world, stop, display)
            } else if StyleLoRARecipe.describes(recipe) {
                try trainLook(on: device, world, stop, display)
            } else if TextToVideoRecipe.describes(recipe) {
                try trainGenerator(on: device, world, stop, display)
            } else {
                try train(recipe: recipe, on: device, world, stop, display)
            }
        } catch let error as SwanError where error.code == .interrupted {
            Terminal.standardError.write(kind: .note, error.message)
            // Ranks stop together, whichever of them got the signal.
            let others = world == nil ? ExitStatus.code(for: error) : 128 + SIGTERM
            throw ExitCode(signals.exitCode ?? others)
        }
    }

    private func train(
        recipe: String,
        on device: Device,
        _ world: World?,
        _ stop: CancellationFlag,
        _ display: TrainingDisplay
    ) throws {
        guard maxSteps == nil, !noSave, !noVisualize else {
            throw ValidationError(
                "--max-steps, --no-save and --no-visualize are for distillations and fine-tunings; "
                    + "\(recipe) is a recipe"
            )
        }
        let recipe = try shared(Recipe(contentsOf: recipe))
        // Gradient checkpointing is used when memory is short.
        if recipe.checkpointsGradients { Engine.returnFreedMemory() }
        if device == .cpu, recipe.usesBFloat16, !Engine.multiplies(.bfloat16) {
            Terminal.standardError.write(
                kind: .warning,
                "this processor has no bfloat16 instructions; float32 is faster"
            )
        }
        try Trainer.run(
            recipe: recipe,
            root: data,
            output: output,
            resume: resume,
            device: device,
            world: world,
            stop: stop,
            onProgress: display.show
        )
    }

    private func distill(
        _ file: Distillation.File,
        on device: Device,
        _ world: World?,
        _ stop: CancellationFlag,
        _ display: TrainingDisplay
    ) throws {
        try requireNoDivision("sharding_strategy")
        show(file.settings.notes, world)
        let options = try options(on: device)
        if file.settings.checkpointsGradients { Engine.returnFreedMemory() }
        try Distillation.run(
            file,
            options,
            world: world,
            stop: stop,
            onNote: { show([$0], world) },
            onProgress: display.show
        )
    }

    private func makeStudent(
        _ file: StudentSettings.File,
        on device: Device,
        _ world: World?,
        _ stop: CancellationFlag,
        _ display: TrainingDisplay
    ) throws {
        try requireNoDivision("teacher_device_strategy")
        show(file.settings.notes, world)
        let options = try options(on: device)
        if file.settings.checkpointsGradients { Engine.returnFreedMemory() }
        try StudentDistillation.run(
            file,
            options,
            world: world,
            stop: stop,
            onNote: { show([$0], world) },
            onProgress: display.show
        )
    }

    /// Throws if an option divides work as only recipes do.
    private func requireNoDivision(_ key: String) throws {
        guard dataParallel == nil, sequenceParallel == nil, shard == nil else {
            throw ValidationError(
                "--data-parallel, --sequence-parallel and --shard are for recipes; in a distillation, "
                    + "each process computes batches of its own, and \(key) says what it keeps"
            )
        }
    }

    private func show(_ notes: [String], _ world: World?) {
        guard world?.rank ?? 0 == 0 else { return }
        for note in notes { Terminal.standardError.write(kind: .note, "\(recipe): \(note)") }
    }

    /// The options of a distillation or a fine-tuning.
    private func options(on device: Device) throws -> RunOptions {
        guard maxSteps ?? 1 > 0 else { throw ValidationError("--max-steps must be at least 1") }
        var options = RunOptions(output: output)
        options.root = data
        options.resume = resume
        options.saves = !noSave
        options.draws = !noVisualize
        options.maximumSteps = maxSteps
        options.device = device
        return options
    }

    private func fineTune(
        _ file: FineTuning.File,
        on device: Device,
        _ world: World?,
        _ stop: CancellationFlag,
        _ display: TrainingDisplay
    ) throws {
        guard dataParallel == nil, sequenceParallel == nil else {
            throw ValidationError(
                "--data-parallel and --sequence-parallel are for recipes; in a fine-tuning, each "
                    + "process computes batches of its own"
            )
        }
        var options = try options(on: device)
        options.sharding = shard ?? .none
        if file.settings.checkpointsGradients { Engine.returnFreedMemory() }
        let isFirst = world?.rank ?? 0 == 0
        try FineTuning.run(file, options, world: world, stop: stop) { text in
            if isFirst { Terminal.standardError.write(kind: .note, text) }
        } onProgress: { progress in
            display.show(progress)
        }
    }

    /// Trains a text-to-video model.
    private func trainGenerator(
        on device: Device,
        _ world: World?,
        _ stop: CancellationFlag,
        _ display: TrainingDisplay
    ) throws {
        try requireAlone(world, "a text-to-video recipe")
        try TextToVideoTrainer.run(
            recipe: TextToVideoRecipe(contentsOf: recipe),
            output: output,
            resume: resume,
            device: device,
            stop: stop,
            onProgress: display.show
        )
    }

    /// Trains a LoRA for a restyling model.
    private func trainLook(
        on device: Device,
        _ world: World?,
        _ stop: CancellationFlag,
        _ display: TrainingDisplay
    ) throws {
        try requireAlone(world, "a look's LoRA")
        try StyleLoRATrainer.run(
            recipe: StyleLoRARecipe(contentsOf: recipe),
            root: data,
            output: output,
            resume: resume,
            device: device,
            stop: stop,
            onProgress: display.show
        )
    }

    /// Throws if several processes are to train what one process trains alone.
    private func requireAlone(_ world: World?, _ what: String) throws(SwanError) {
        guard world == nil, dataParallel == nil, sequenceParallel == nil, shard == nil else {
            throw SwanError(
                .invalidRequest,
                "\(recipe): \(what) is trained by one process; start it without 'swan launch' and "
                    + "without its options"
            )
        }
    }

    /// A recipe with this command's options for several processes.
    private func shared(_ recipe: Recipe) -> Recipe {
        guard dataParallel != nil || sequenceParallel != nil || shard != nil else { return recipe }
        var recipe = recipe
        var options = recipe.parallel ?? ParallelOptions()
        options.data = dataParallel ?? options.data
        options.sequence = sequenceParallel ?? options.sequence
        options.shard = shard ?? options.shard
        recipe.parallel = options
        return recipe
    }
}

/// Shows the progress of training.
private struct TrainingDisplay {
    private let style: ProgressStyle

    init(_ style: ProgressStyle) {
        self.style = style
    }

    func show(_ progress: TrainingProgress) {
        if let warning = progress.warning {
            Terminal.standardError.write(kind: .warning, warning)
        }
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
