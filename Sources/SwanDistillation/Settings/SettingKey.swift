/// The keys of a distillation's file.
enum SettingKey: String, NamedSetting {
    case modelName = "model_name", generatorName = "generator_name", realName = "real_name"
    case fakeName = "fake_name", modelType = "model_type", modelPath = "model_path"
    case realModelPath = "real_model_path", generatorCheckpoint = "generator_ckpt"
    case generatorCheckpointKey = "generator_ckpt_key"
    case generatorGrad = "generator_grad", realGrad = "real_score_grad"
    case fakeGrad = "fake_score_grad"
    case steps = "denoising_step_list", warpsSteps = "warp_denoising_step"
    case shift = "timestep_shift", trainingTimesteps = "num_train_timestep"
    case realGuidance = "real_guidance_scale", fakeGuidance = "fake_guidance_scale"
    case task = "generator_task", generatorTask = "generator_task_type"
    case realTask = "real_task_type", fakeTask = "fake_task_type"
    case denoisingLoss = "denoising_loss_type", loss = "distillation_loss"
    case isSimulated = "backward_simulation", shape = "image_or_video_shape"
    case trainingFrames = "num_training_frames", separatesBatches = "separate_batches"
    case framesPerBlock = "num_frame_per_block", cacheFrames = "num_kv_cache"
    case sinkFrames = "num_sink_tokens", sinkThreshold = "adapt_sink_threshold"
    case trainsWindow = "train_window", shotFrames = "shot_frames"
    case rate = "lr", beta1, beta2, criticRate = "lr_critic", criticBeta1 = "beta1_critic"
    case criticBeta2 = "beta2_critic", weightDecay = "weight_decay"
    case generatorNorm = "max_grad_norm_generator", criticNorm = "max_grad_norm_critic"
    case batch = "batch_size", ratio = "dfake_gen_update_ratio"
    case accumulation = "gradient_accumulation_steps"
    case mixedPrecision = "mixed_precision", checkpointing = "gradient_checkpointing"
    case sharding = "sharding_strategy", averageDecay = "ema_weight"
    case averageStart = "ema_start_step"
    case dataPath = "data_path", maximumRows = "max_pair", negativePrompt = "negative_prompt"
    case textCache = "text_cache"
    case heldOutRows = "held_out_rows", logSteps = "log_iters", seed, maximumSteps = "max_steps",
        name = "wandb_name"
    case isREPA = "is_repa", isParity = "parity"
    case sharesStep = "same_step_across_blocks", lastStepOnly = "last_step_only"
    case contextNoise = "context_noise", limitsScores = "ts_schedule"
    case limitsScoresAbove = "ts_schedule_max", alpha = "sid_alpha"

    /// Keys of the references that do nothing here, and why.
    static let dead: [String: String] = {
        let curves = "curves and samples go to TensorBoard files in the output folder"
        let wrap = "weights are always divided by blocks"
        let repa = "is_repa is off"
        var keys = [
            "output_path": "--output says where", "no_save": "use --no-save",
            "no_visualize": "use --no-visualize", "repa_layer": repa, "repa_loss_weight": repa,
        ]
        for name in ["host", "key", "entity", "project", "mode"] { keys["wandb_\(name)"] = curves }
        for role in ["generator", "real_score", "fake_score", "text_encoder"] {
            keys["\(role)_fsdp_wrap_strategy"] = wrap
            keys["\(role)_fsdp_transformer_module"] = wrap
        }
        return keys
    }()
}
