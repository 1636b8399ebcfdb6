/// The keys of a file that trains a student for pictures: WanDistiller's options, and a few more.
enum StudentKey: String, NamedSetting {
    case teacherPath = "teacher_path", studentConfig = "student_config", dataPath = "data_path"
    case batch = "batch_size", steps = "num_steps", epochs = "num_epochs", rate = "lr"
    case checkpointing = "gradient_checkpointing", teacherDType = "teacher_dtype"
    case strategy = "teacher_device_strategy", teacherOnCPU = "teacher_on_cpu"
    case savesSamples = "save_samples", sampleFolder = "sample_dir"
    case samplePrompts = "sample_prompts", sampleInterval = "sample_interval"
    case isParity = "parity", seed, projection = "projection_method"
    case guidance = "guidance_scale", negativePrompt = "negative_prompt"
    case teacherSteps = "teacher_steps", teacherShift = "teacher_shift"
    case samplesPerPrompt = "samples_per_prompt", shift = "timestep_shift"
    case heldOutRows = "held_out_rows", weightDecay = "weight_decay"
    case accumulation = "gradient_accumulation_steps", checkpointSteps = "checkpoint_steps"
    case cachePath = "cache_path"

    /// Keys of the reference that do nothing here, and why.
    static let dead: [String: String] = {
        let launch = "processes are started by 'swan launch', torchrun or srun"
        return [
            "output_dir": "--output says where", "num_workers": "Swan chooses the data threads",
            "mixed_precision": "the student is trained in float32, as it is in the reference",
            "local_rank": launch, "multi_gpu": launch, "distributed": launch,
        ]
    }()

    /// The keys of a student's configuration that do nothing.
    static let deadInConfig = ["text_max_length", "projection_factor"]
    /// The keys of a student's configuration.
    static let inConfig =
        [
            "model_type", "_class_name", "hidden_size", "depth", "num_heads", "num_channels",
            "image_size", "patch_size", "text_encoder_output_dim", "positions",
        ] + deadInConfig
}
