import SwanCheckpoints
import SwanModels
import SwanSystem
import SwanTraining
import Torch
import Yams

extension Recipe {
    /// The maximum number of frames in a clip, because some operators limit the number of their
    /// results.
    static let mostFrames = 1_025

    /// Throws `invalidRecipe` with the key of the first number that is out of range.
    ///
    /// Values that pass are small enough that no sum or product in training overflows.
    func checkNumbers() throws(SwanError) {
        do {
            try NumberLimits.require(threads, in: 1...1_024, "threads")
            try requireTexts()
            try requireSizes()
            try vae.training.requireRanges("vae.training")
            try vae.optimizer.requireRanges("vae.optimizer")
            try transformer.training.requireRanges("transformer.training")
            try transformer.optimizer.requireRanges("transformer.optimizer")
            try NumberLimits.require(
                transformer.phases.count,
                in: NumberLimits.list,
                "the number of transformer.phases"
            )
            for (index, phase) in transformer.phases.enumerated() {
                try phase.requireRanges("transformer.phases[\(index)]")
            }
            try requireCounts()
            let clip = (transformer.training.latentFrames - 1) * vae.model.temporalStride + 1
            try NumberLimits.require(
                clip <= Self.mostFrames,
                "transformer.training.latent_frames is \(transformer.training.latentFrames), which is "
                    + "\(clip) frames of a clip; the maximum is \(Self.mostFrames)"
            )
        } catch {
            throw SwanError(.invalidRecipe, error.message, cause: error)
        }
        do {
            try stream.check()
        } catch {
            throw SwanError(.invalidRecipe, "stream: \(error.message)", cause: error)
        }
    }

    private func requireTexts() throws(SwanError) {
        for (key, text) in [("name", name), ("license", license)] {
            try NumberLimits.require(
                text == text.printable(),
                "\(key) is not plain text of at most 200 characters: \"\(text.printable())\""
            )
        }
        let place = start ?? ""
        try NumberLimits.require(
            place == place.printable(limit: 4_096),
            "start is not plain text: \"\(place.printable())\""
        )
        try NumberLimits.require(styles.count <= 1_024, "styles: more than 1024 are listed")
        for style in styles {
            try NumberLimits.require(
                style.name == style.name.printable(),
                "a style's name is not plain text of at most 200 characters: "
                    + "\"\(style.name.printable())\""
            )
            try NumberLimits.require(
                style.phrasings.count <= 4_096 && style.filters.count <= 64,
                "style \(style.name) has more than 4096 phrasings or 64 filters"
            )
            if let odd = style.phrasings.first(where: { $0 != $0.printable() }) {
                throw SwanError(
                    .invalidWeights,
                    "a phrasing of style \(style.name) is not plain text of at most 200 characters: "
                        + "\"\(odd.printable())\""
                )
            }
        }
    }

    private func requireSizes() throws(SwanError) {
        for (section, check) in [
            ("vae.model", vae.model.validate), ("text.model", text.model.validate),
            ("transformer.model", transformer.model.validate),
        ] as [(String, () throws(SwanError) -> Void)] {
            do {
                try check()
            } catch {
                throw SwanError(error.code, "\(section): \(error.message)", cause: error)
            }
        }
    }

    private func requireCounts() throws(SwanError) {
        let limits = NumberLimits.self
        try limits.require(text.sentences, in: 1...10_000_000, "text.sentences")
        try limits.require(text.steps, in: limits.count, "text.steps")
        try limits.require(text.batch, in: limits.list, "text.batch")
        try limits.require(text.learningRate ?? 1, in: 0...1_000, "text.learning_rate")
        try limits.require(checkpoints.everySteps, in: limits.count, "checkpoints.every_steps")
        try limits.require(checkpoints.kept, in: limits.list, "checkpoints.kept")
        try limits.require(checkpoints.everyMinutes, in: 1e-6...1e6, "checkpoints.every_minutes")
        guard let samples else { return }
        try limits.require(samples.everySteps, in: limits.count, "samples.every_steps")
        try limits.require(samples.clips, in: 0...64, "samples.clips")
    }
}

extension VAEOptions {
    fileprivate func requireRanges(_ section: String) throws(SwanError) {
        let limits = NumberLimits.self
        let fromZero = 0...limits.count.upperBound
        try limits.require(steps, in: limits.count, "\(section).steps")
        try limits.require(linearSteps, in: fromZero, "\(section).linear_steps")
        try limits.require(decoderSteps ?? 0, in: fromZero, "\(section).decoder_steps")
        try limits.require(batch, in: limits.list, "\(section).batch")
        try limits.require(size, in: limits.side, "\(section).size")
        try limits.require(
            frames.count,
            in: limits.list,
            "the number of \(section).frames"
        )
        for count in frames {
            try limits.require(count, in: 1...Recipe.mostFrames, "\(section).frames")
        }
        for (key, value) in [
            ("styled", styled), ("latent_noise", latentNoise), ("perceptual", perceptual),
            ("divergence", divergence),
        ] {
            try limits.require(value, in: 0...1e6, "\(section).\(key)")
        }
    }
}

extension OptimizerOptions {
    func requireRanges(_ section: String) throws(SwanError) {
        let limits = NumberLimits.self
        try limits.require(warmUpSteps, in: 0...limits.count.upperBound, "\(section).warm_up_steps")
        try limits.require(microBatches ?? 1, in: limits.list, "\(section).micro_batches")
        try limits.require(betas.count == 2, "\(section).betas must be two numbers")
        for beta in betas { try limits.require(beta, in: 0...0.999_999_999, "\(section).betas") }
        for (key, value, range) in [
            ("learning_rate", learningRate, 0...1_000), ("decay_from", decayFrom, 0...1),
            ("final_rate", finalRate, 0...1_000), ("weight_decay", weightDecay, 0...1_000),
            ("maximum_gradient_norm", maximumGradientNorm, 0...1e9),
            ("average_decay", averageDecay, 0...1),
        ] as [(String, Double, ClosedRange<Double>)] {
            try limits.require(value, in: range, "\(section).\(key)")
        }
    }
}

extension StreamTrainingOptions {
    fileprivate func requireRanges(_ section: String) throws(SwanError) {
        let limits = NumberLimits.self
        try limits.require(latentFrames, in: limits.frames, "\(section).latent_frames")
        try limits.require(window, in: limits.frames, "\(section).window")
        try limits.require(firstTimestepOffset, in: -1_000...1_000, "\(section).timestep_offset")
        try limits.require(
            laterTimesteps.count,
            in: limits.list,
            "the number of \(section).later_timesteps"
        )
        for timestep in laterTimesteps {
            try limits.require(timestep, in: 0...1_000, "\(section).later_timesteps")
        }
        for (key, value) in [
            ("noise_scale", noiseScale), ("noise_spread", noiseSpread), ("full_noise", fullNoise),
            ("own_results", ownResults), ("running_clips", runningClips),
        ] {
            try limits.require(value, in: 0...1, "\(section).\(key)")
        }
    }
}

extension StreamPhase {
    fileprivate func requireRanges(_ section: String) throws(SwanError) {
        let limits = NumberLimits.self
        try limits.require(steps, in: limits.count, "\(section).steps")
        try limits.require(size, in: limits.side, "\(section).size")
        try limits.require(batch, in: limits.list, "\(section).batch")
        try limits.require(pool, in: limits.count, "\(section).pool")
        try limits.require(firstClips, in: limits.count, "\(section).first_clips")
        try limits.require(stepsPerClip, in: limits.count, "\(section).steps_per_clip")
    }
}
