import ArgumentParser
import SwanDistillation

/// The options of `swan train` for a student for pictures: WanDistiller's, each of which is also a
/// key of the file, with underscores.
struct TrainStudentOptions: ParsableArguments {
    @Option(help: "The teacher's folder, in any layout.")
    var teacherPath: String?

    @Option(help: "The student's sizes: a file of JSON or YAML.")
    var studentConfig: String?

    @Option(help: "Prompts, one a line, or latents with prompts.")
    var dataPath: String?

    @Option(help: "The rows of a process in a micro-batch.")
    var batchSize: String?

    @Option(help: "The steps after which the run ends, unless its epochs end before.")
    var numSteps: String?

    @Option(help: "The epochs after which the run ends, unless its steps end before.")
    var numEpochs: String?

    @Option(help: "The learning rate.")
    var lr: String?

    @Flag(help: "Compute the student's blocks again for gradients instead of keeping them.")
    var gradientCheckpointing = false

    @Option(help: "The dtype that the teacher computes in: float32, bfloat16 or float16.")
    var teacherDtype: String?

    @Option(
        help: ArgumentHelp(
            "Where the teacher is: divided among all ranks, on the first one alone, or on the CPU.",
            valueName: "auto|balanced|gpu0|cpu"
        )
    )
    var teacherDeviceStrategy: String?

    @Flag(name: .customLong("teacher-on-cpu"), help: "As --teacher-device-strategy cpu.")
    var teacherOnCPU = false

    @Flag(help: "Draw pictures during training, as is done unless the file says otherwise.")
    var saveSamples = false

    @Option(help: "The folder of these pictures; samples in the output folder by default.")
    var sampleDir: String?

    @Option(
        parsing: .upToNextOption,
        help: "Their prompts; by default the first two of the data."
    )
    var samplePrompts: [String] = []

    @Option(help: "The epochs from one drawing to the next.")
    var sampleInterval: String?

    @Flag(help: "Keep what the reference computes where Swan corrects it.")
    var parity = false

    @Option(help: .hidden) var outputDir: String?
    @Option(help: .hidden) var numWorkers: String?
    @Option(help: .hidden) var localRank: String?
    @Flag(help: .hidden) var mixedPrecision = false
    @Flag(name: .customLong("multi-gpu"), help: .hidden) var multiGPU = false
    @Flag(help: .hidden) var distributed = false

    /// The keys that options replace, and their values.
    var overrides: StudentSettings.Overrides {
        let values = [
            "teacher_path": teacherPath, "student_config": studentConfig, "data_path": dataPath,
            "batch_size": batchSize, "num_steps": numSteps, "num_epochs": numEpochs, "lr": lr,
            "teacher_dtype": teacherDtype, "teacher_device_strategy": teacherDeviceStrategy,
            "sample_dir": sampleDir, "sample_interval": sampleInterval, "output_dir": outputDir,
            "num_workers": numWorkers, "local_rank": localRank,
        ]
        let flags = [
            "gradient_checkpointing": gradientCheckpointing, "teacher_on_cpu": teacherOnCPU,
            "save_samples": saveSamples, "parity": parity, "mixed_precision": mixedPrecision,
            "multi_gpu": multiGPU, "distributed": distributed,
        ]
        var overrides = values.compactMapValues { $0.map { [$0] } }
        for (name, isSet) in flags where isSet { overrides[name] = ["true"] }
        if !samplePrompts.isEmpty { overrides["sample_prompts"] = samplePrompts }
        return overrides
    }
}
