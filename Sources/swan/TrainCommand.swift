import ArgumentParser
import Foundation
import SwanDistillation
import SwanDistributed
import SwanFineTuning
import SwanThreads
import SwanTiny
import SwanTraining
import Torch
import SwanSystem

/// `swan train`: trains a model from a recipe.
struct TrainCommand: RankedCommand, LoggedCommand {
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

    @Argument(help: "The recipe, a YAML file.", completion: .file(extensions: ["yaml", "yml"]))
    var recipe: String

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("The folder to write the model to.", valueName: "folder"),
        completion: .directory
    )
    var output: String

    @Option(
        help: ArgumentHelp(
            "The folder that the recipe's paths are relative to.",
            valueName: "folder"
        ),
        completion: .directory
    )
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

    @Option(
        help: "The device to run on: auto (a GPU if available), cpu, cuda or cuda:N.",
        completion: Completions.device
    )
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

    @OptionGroup var dryRun: DryRunOption

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Write a JSON summary to this file, or to standard output for -.",
            valueName: "file"
        ),
        completion: .file()
    )
    var json: String?

    @Option(help: "How to show progress; auto and bar print plain lines.")
    var progress = ProgressStyle.auto

    var messageFormat: Terminal.Format { progress == .json ? .json : .text }

    @Option(
        name: [.customLong("settings"), .customLong("config")],
        help: SettingsOption.help,
        completion: .file(extensions: ["yaml", "yml"])
    )
    var settings: String?

    @OptionGroup var logging: LogOptions

    func run() throws {
        let display = TrainingDisplay(progress)
        if !dryRun.isGiven { display.begin("reading \(recipe)") }
        let name = try Ranks.launch?.ownDevice(named: device.name) ?? device.name
        let device = try Device(named: name)
        if dryRun.isGiven { return try dryRun.show(outline(on: device), json: json, progress) }
        let report = try JSONReport(json)
        let job = RankedJob(device: "\(device)", deadline: .seconds(600))
        try Ranks.run(job) { world in try train(on: device, world, display) }
        try report.write(JSONText.data(display.summary(output: output)))
    }

    private func train(on device: Device, _ world: World?, _ display: TrainingDisplay) throws {
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
        try display.start()
        defer { display.end() }
        do {
            try TrainingPhase.reporting(to: { display.begin($0) }) {
                try trainAny(on: device, world, stop, display)
            }
        } catch let error as SwanError where error.code == .interrupted {
            Terminal.standardError.write(kind: .note, error.message)
            // Ranks stop together, whichever of them got the signal.
            let others = world == nil ? ExitStatus.code(for: error) : 128 + SIGTERM
            throw ExitCode(signals.exitCode ?? others)
        }
    }

    /// Trains what the file is about.
    private func trainAny(
        on device: Device,
        _ world: World?,
        _ stop: CancellationFlag,
        _ display: TrainingDisplay
    ) throws {
        switch try kind {
        case .student(let file): try makeStudent(file, on: device, world, stop, display)
        case .distillation(let file): try distill(file, on: device, world, stop, display)
        case .tuning(let file): try fineTune(file, on: device, world, stop, display)
        case .look: try trainLook(on: device, world, stop, display)
        case .generator: try trainGenerator(on: device, world, stop, display)
        case .recipe: try train(recipe: recipe, on: device, world, stop, display)
        }
    }

    private func train(
        recipe: String,
        on device: Device,
        _ world: World?,
        _ stop: CancellationFlag,
        _ display: TrainingDisplay
    ) throws {
        try requireNoRunOptions()
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

    /// Throws if an option is given that a recipe has a key for.
    func requireNoRunOptions() throws {
        guard maxSteps == nil, !noSave, !noVisualize else {
            throw ValidationError(
                "--max-steps, --no-save and --no-visualize are for distillations and fine-tunings; "
                    + "\(recipe) is a recipe"
            )
        }
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
    func options(on device: Device) throws -> RunOptions {
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
