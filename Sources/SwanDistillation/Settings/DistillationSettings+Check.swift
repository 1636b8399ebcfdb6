import SwanSystem

extension DistillationSettings {
    /// Throws if the settings ask for something impossible, or for something that Swan does not do.
    func check() throws(SwanError) {
        for (name, network) in [("generator", generator), ("real", real), ("fake", fake)]
        where network == .sdxl {
            throw invalid(
                "\(name)_name (or model_name): SDXL is not supported; use wan or causal_wan"
            )
        }
        guard denoisingLoss.fitsFlowMatching else {
            throw invalid(
                "denoising_loss_type: \(denoisingLoss.rawValue) needs a diffusion schedule, which "
                    + "Wan models do not have; use flow or x0"
            )
        }
        _ = try schedule()
        if generatorCheckpointKey != nil, generatorCheckpoint == nil {
            throw invalid("generator_ckpt_key: needs generator_ckpt")
        }
        try checkShape()
        try checkTasks()
        if let shotFrames {
            guard streamContextNoise != nil, shotFrames.isMultiple(of: framesPerBlock) else {
                throw invalid(
                    "shot_frames: needs a student that begins with noise and has a clean past, and "
                        + "must be a multiple of num_frame_per_block"
                )
            }
        }
        if trainsWindow {
            guard generator == .causalWan, let cacheFrames,
                cacheFrames >= 2 * framesPerBlock + ((sinkFrames ?? 0) / framesPerBlock - 1)
                    * framesPerBlock
            else {
                throw invalid(
                    "train_window: needs a causal generator, and a num_kv_cache with room for "
                        + "num_sink_tokens and a block of num_frame_per_block frames"
                )
            }
        }
    }

    private func checkShape() throws(SwanError) {
        guard let shape else {
            guard loss == .ode || !isSimulated else {
                throw invalid(
                    "image_or_video_shape is missing: [1, frames, channels, height, width]"
                )
            }
            return
        }
        guard shape.count == 5, shape.allSatisfy({ 1...100_000 ~= $0 }) else {
            throw invalid(
                "image_or_video_shape: must be [batch, frames, channels, height, width] of latents"
            )
        }
        for task in Set([generatorTask ?? task, realTask ?? task, fakeTask ?? task]) {
            do {
                try task.check(frames: shape[1], framesPerBlock: framesPerBlock)
            } catch {
                throw SwanError(.invalidRecipe, "image_or_video_shape: \(error.message)")
            }
        }
    }

    private func checkTasks() throws(SwanError) {
        let isRolledOut = loss == .selfForcing || loss == .sid
        if isRolledOut, generator != .causalWan || steps.last == 0 {
            throw invalid(
                "distillation_loss: \(loss.rawValue) needs generator_name: causal_wan and a "
                    + "denoising_step_list without 0"
            )
        }
        if let trainingFrames {
            guard isRolledOut, let shape, trainingFrames >= shape[1],
                trainingFrames.isMultiple(of: framesPerBlock)
            else {
                throw invalid(
                    "num_training_frames: is for self_forcing and sid; it must be a multiple of "
                        + "num_frame_per_block, \(framesPerBlock), and at least the frames of "
                        + "image_or_video_shape"
                )
            }
        }
        if loss == .ode, separatesBatches == true {
            throw invalid("separate_batches: a regression has one network that learns")
        }
        if loss == .dmd, generator == .causalWan, isSimulated {
            throw invalid(
                "backward_simulation: a causal generator is simulated by distillation_loss: "
                    + "self_forcing; for dmd, set it to false and give latents as data_path"
            )
        }
        if loss == .ode, steps.last != 0 {
            throw invalid("denoising_step_list: for ode, it must end with 0, the clean state")
        }
    }

    private func invalid(_ message: String) -> SwanError { SwanError(.invalidRecipe, message) }
}
