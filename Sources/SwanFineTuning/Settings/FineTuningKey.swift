/// The keys of a fine-tuning's file.
enum FineTuningKey: String, CaseIterable, CodingKey {
    case kind = "fine_tuning", model = "model_path", expert, boundary, name
    case rank, alpha, targets, format = "save_format"
    case data, buckets, cache = "cache_path", heldOut = "held_out_rows"
    case promptDropout = "prompt_dropout", cleanFirstFrame = "clean_first_frame"
    case sampling = "timestep_sampling", mean = "logit_mean", deviation = "logit_std"
    case scale = "mode_scale", shift = "timestep_shift", least = "min_timestep"
    case most = "max_timestep", weighting = "loss_weighting"
    case framesPerBlock = "num_frame_per_block", window = "num_kv_cache"
    case precision, base = "base_dtype", checkpointing = "gradient_checkpointing"
    case batch = "batch_size", accumulation = "gradient_accumulation_steps"
    case rate = "lr", warmUp = "warmup_steps", decayFrom = "lr_decay_from", betas
    case weightDecay = "weight_decay", maximumNorm = "max_grad_norm"
    case averageDecay = "ema_weight", steps = "max_steps", seed
    case saveEvery = "save_every_steps", kept = "keep_checkpoints"
    case previewPrompts = "sample_prompts", previewEvery = "sample_every_steps"
    case previewSize = "sample_size", previewSteps = "sample_steps"
    case previewSeed = "sample_seed", previewInput = "sample_input"
}
