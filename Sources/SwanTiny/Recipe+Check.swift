import SwanModels
import SwanText
import SwanTraining
import SwanSystem
import SwanCheckpoints

extension Recipe {
    /// Throws if values are out of range or inconsistent.
    func check() throws(SwanError) {
        try checkNumbers()
        try checkNames()
        try checkModels()
        try checkLengths()
        try checkLearningRates()
        try checkAutoencoderSizes()
        try checkPhases()
        try checkStyles()
        try checkStreamSize()
        try checkNoise()
        try checkOptimizers()
        try checkSchedules()
    }

    private func checkNames() throws(SwanError) {
        try require(
            !name.isEmpty && !styles.isEmpty,
            "name and styles must not be empty"
        )
        try require(
            Set(styles.map(\.name)).count == styles.count,
            "styles: two styles have the same name"
        )
    }

    private func checkModels() throws(SwanError) {
        try require(
            transformer.model.inDim == vae.model.zDim && transformer.model.outDim == vae.model.zDim,
            "transformer.model: in_dim and out_dim must equal vae.model.z_dim, \(vae.model.zDim)"
        )
        try require(
            transformer.model.textDim == text.model.dim,
            "transformer.model.text_dim must equal text.model.d_model, \(text.model.dim)"
        )
    }

    private func checkLengths() throws(SwanError) {
        try require(
            vae.training.steps > 0 && vae.training.batch > 0 && !vae.training.frames.isEmpty
                && (vae.training.decoderSteps ?? 0) >= 0,
            "vae.training: steps and batch must be at least 1, decoder_steps at least 0, and "
                + "frames must not be empty"
        )
        try require(text.steps > 0 && text.batch > 0, "text: steps and batch must be at least 1")
        try require(
            text.model.vocabulary > TokenizerTrainer.marksAndBytes,
            "text.model.vocab_size is \(text.model.vocabulary); it must be more than the number of "
                + "special and byte tokens, \(TokenizerTrainer.marksAndBytes)"
        )
    }

    private func checkLearningRates() throws(SwanError) {
        let rates = [
            ("vae.optimizer", vae.optimizer.learningRate),
            ("transformer.optimizer", transformer.optimizer.learningRate),
            ("text", text.learningRate ?? transformer.optimizer.learningRate),
        ]
        for (section, rate) in rates {
            try require(rate > 0, "\(section).learning_rate is \(rate); it must be above 0")
        }
    }

    private func checkAutoencoderSizes() throws(SwanError) {
        let pixels = vae.model.spatialStride
        let step = vae.model.temporalStride
        try require(
            vae.training.frames.allSatisfy { $0 > 0 && ($0 - 1) % step == 0 },
            "vae.training.frames is \(vae.training.frames); each must be 1 + a multiple of \(step)"
        )
        try require(
            vae.training.size > 0 && vae.training.size % pixels == 0,
            "vae.training.size is \(vae.training.size); it must be a multiple of \(pixels)"
        )
    }

    /// The required divisor of the transformer's image sizes.
    private var patchPixels: Int {
        vae.model.spatialStride * (transformer.model.patchSize.max() ?? 1)
    }

    private func checkPhases() throws(SwanError) {
        let patch = patchPixels
        try require(!transformer.phases.isEmpty, "transformer.phases: must not be empty")
        for phase in transformer.phases {
            try require(
                phase.steps > 0 && phase.batch > 0 && phase.pool > 0 && phase.firstClips > 0
                    && phase.stepsPerClip > 0 && phase.size > 0 && phase.size % patch == 0,
                "transformer.phases: values must be at least 1, and size a multiple of \(patch)"
            )
        }
    }

    private func checkStyles() throws(SwanError) {
        // With `start`, the autoencoder is not trained.
        let sizes = (start == nil ? [vae.training.size] : []) + transformer.phases.map(\.size)
        for style in styles {
            for side in sizes {
                let misfits = style.filters.compactMap { $0.misfit(side) }
                guard let misfit = misfits.first else { continue }
                throw SwanError(
                    .invalidRecipe,
                    "styles: \(style.name) cannot be rendered at \(side)x\(side) pixels: "
                        + misfit
                )
            }
        }
    }

    private func checkStreamSize() throws(SwanError) {
        let patch = patchPixels
        try require(
            [stream.height, stream.width].allSatisfy { side in
                side.map { $0 % patch == 0 } ?? false
            },
            "stream: height and width are required and must be multiples of \(patch)"
        )
    }

    private func checkNoise() throws(SwanError) {
        let training = transformer.training
        try require(
            training.latentFrames > 0 && training.window > 0 && !training.laterTimesteps.isEmpty,
            "transformer.training: latent_frames and window must be at least 1, and "
                + "later_timesteps must not be empty"
        )
        try require(
            training.noiseScale <= 1 && training.noiseSpread >= 0
                && training.noiseSpread <= training.noiseScale,
            "transformer.training: noise_scale must be at most 1, and noise_spread at least 0 and "
                + "at most noise_scale"
        )
        try require(
            training.firstTimestepOffset == stream.timestepOffset,
            "transformer.training and stream: timestep_offset must be the same in both"
        )
        let offset = Double(training.firstTimestepOffset)
        let least = 1_000 * (training.noiseScale - training.noiseSpread)
        try require(
            least + offset > 0 && 1_000 * training.noiseScale + offset <= 1_000,
            "transformer.training: a first timestep, 1000 times the noise (noise_scale - noise_spread "
                + "to noise_scale) plus timestep_offset "
                + "(\(training.firstTimestepOffset)), must be above 0 and at most 1000"
        )
    }

    private func checkOptimizers() throws(SwanError) {
        try require(
            !(vae.optimizer.muon ?? false),
            "vae.optimizer: muon is not supported for the autoencoder's convolutions; remove it"
        )
        for optimizer in [vae.optimizer, transformer.optimizer] {
            try require(
                optimizer.betas.count == 2 && optimizer.learningRate > 0
                    && optimizer.maximumGradientNorm > 0,
                "optimizer: betas must be two numbers, learning_rate and maximum_gradient_norm above 0"
            )
            try require(
                (optimizer.microBatches ?? 1) > 0,
                "optimizer.micro_batches must be at least 1"
            )
        }
    }

    private func checkSchedules() throws(SwanError) {
        try require(
            checkpoints.everySteps > 0 && checkpoints.kept > 0 && checkpoints.everyMinutes > 0,
            "checkpoints: every_steps, every_minutes and kept must be above 0"
        )
        if let samples {
            try require(
                samples.everySteps > 0 && samples.clips >= 0,
                "samples: every_steps must be at least 1, and clips at least 0"
            )
        }
    }

    private func require(
        _ holds: Bool,
        _ message: @autoclosure () -> String
    ) throws(SwanError) {
        guard holds else { throw SwanError(.invalidRecipe, message()) }
    }
}
