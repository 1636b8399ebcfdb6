import Foundation
import SwanCheckpoints
import SwanModels
import SwanSchedulers
import SwanSystem
package import Torch

/// What a teacher's sampling run passes through: states between noise and the clean latents.
package struct TrajectoryOptions: Sendable, Equatable {
    /// The number of Euler steps.
    package var steps = 50
    /// The shift of the noise levels.
    package var shift = 8.0
    /// The guidance scale; 1 is off.
    package var guidance = 6.0
    /// What the videos should not show; nil for the model's own text.
    package var negativePrompt: String?
    /// The student's denoising steps: the timesteps of the states to keep, from noise to 0.
    package var timesteps = [1_000, 757, 522, 0]
    /// The size in pixels and the number of frames; nil for the model's defaults.
    package var size: GenerationSettings.PictureSize?
    package var frames: Int?

    /// Creates the options of CausVid's first student.
    package init() {}

    /// The places among the steps + 1 states, noise first, that have `timesteps`.
    ///
    /// State k has the timestep 1000 s u / (1 + (s - 1) u) with u = 1 - k / steps; a student's step
    /// may differ from it by its rounding.
    ///
    /// - Throws: `invalidRequest` if a timestep has no state.
    package var places: [Int] {
        get throws(SwanError) {
            let states = (0...steps).map { index in
                let rest = 1 - Double(index) / Double(steps)
                return 1_000 * shift * rest / (1 + (shift - 1) * rest)
            }
            var places: [Int] = []
            for timestep in timesteps {
                let place = states.indices.min { a, b in
                    abs(states[a] - Double(timestep)) < abs(states[b] - Double(timestep))
                }
                guard let place, abs(states[place] - Double(timestep)) <= 1 else {
                    let nearest = place.map { String(format: "%.1f", states[$0]) } ?? "none"
                    throw SwanError(
                        .invalidRequest,
                        "no state of \(steps) steps with the shift \(shift) has the timestep "
                            + "\(timestep); the nearest is \(nearest)"
                    )
                }
                places.append(place)
            }
            guard places.first == 0, places.last == steps, places == Set(places).sorted() else {
                throw SwanError(
                    .invalidRequest,
                    "the timesteps \(timesteps) must fall from 1000 to 0"
                )
            }
            return places
        }
    }
}

/// Samples a text-to-video model step by step and keeps states of the way: pairs of noise and result
/// for a student to learn from.
///
/// Source: CausVid, https://arxiv.org/abs/2412.07772, section 4.2.
package final class TeacherTrajectory {
    /// The shape of a result, [T, F, C, H, W].
    package let shape: [Int]
    private let model: GenerationModel
    private let options: TrajectoryOptions
    private let plan: GenerationPlan
    private let places: [Int]
    private let schedule: FlowMatch
    private var experts: [ModelFolder.Part: FlowTransformer] = [:]
    private var embeddings: [String: Tensor] = [:]

    /// Checks a model and options; no weights are read.
    package init(_ model: GenerationModel, _ options: TrajectoryOptions) throws {
        guard [.textToVideo, .textOrImageToVideo].contains(model.variant.task) else {
            throw SwanError(
                .invalidRequest,
                "\(model.name) is \(model.variant.task.named) model; pairs come from text alone"
            )
        }
        places = try options.places
        // Each run has its own prompt; the plan is the same for all.
        var request = GenerationRequest(prompt: "any")
        request.settings.steps = options.steps
        request.settings.shift = options.shift
        request.settings.guidance = options.guidance
        request.settings.negativePrompt = options.negativePrompt
        request.settings.size = options.size
        request.settings.frames = options.frames
        plan = try GenerationPlan(request, model)
        var table = FlowMatch.Options.streaming(shift: options.shift)
        table.steps = options.steps
        schedule = try FlowMatch(table)
        let latents = plan.latentShape
        shape = [places.count, latents[2], latents[1], latents[3], latents[4]]
        (self.model, self.options) = (model, options)
    }

    /// The negative prompt in use; nil without guidance.
    package var negativePrompt: String? { plan.prompts.count > 1 ? plan.prompts[1] : nil }

    /// Encodes prompts for `states`, and releases the text encoder.
    package func prepare(_ prompts: [String]) throws {
        let encoder = try model.textEncoder()
        let tokenizer = try model.folder.tokenizer(for: encoder.config)
        for text in Set(prompts + plan.prompts.dropFirst()) where embeddings[text] == nil {
            embeddings[text] = try model.embeddings(of: [text], encoder, tokenizer)[0].embedding
        }
    }

    /// Forgets encoded prompts.
    package func forget(_ prompts: [String]) {
        for text in prompts where text != negativePrompt { embeddings[text] = nil }
    }

    /// Samples a video and returns its states, [T, F, C, H, W] in float32 on the CPU.
    ///
    /// - Parameters:
    ///   - seed: The seed of the noise, which is the first state.
    ///   - check: Called before each step; what it throws ends the run.
    package func states(
        _ prompt: String,
        seed: UInt64,
        check: () throws -> Void = {}
    ) throws -> Tensor {
        var latents = try Tensor.randn(plan.latentShape, Generator(seed: seed)).to(model.device)
        var states: [Tensor] = []
        var expert: (part: ModelFolder.Part, transformer: GuidedTransformer)?
        let input = DenoisingInput(dtype: model.dtype)
        for (index, timestep) in schedule.timesteps.enumerated() {
            try check()
            if places.contains(index) { states.append(latents) }
            let part = plan.expert(at: timestep)
            if expert?.part != part { expert = (part, try guided(part, prompt)) }
            guard let transformer = expert?.transformer else { break }
            let flow = try transformer.flow(
                input.latents(latents),
                timesteps: input.timesteps(timestep, frames: latents.size(2), on: model.device)
            )
            latents = try schedule.step(latents, flow: flow, at: .all(Double(timestep)))
        }
        try model.requireFinite(latents, .transformer, "the latents for '\(prompt)'")
        states.append(latents)
        return try concatenated(states, dim: 0).permuted(0, 2, 1, 3, 4).to(.cpu).contiguous()
    }

    private func guided(_ part: ModelFolder.Part, _ prompt: String) throws -> GuidedTransformer {
        let network = try experts[part] ?? model.transformer(part)
        experts[part] = network
        guard let text = embeddings[prompt] else {
            throw SwanError(.invalidArgument, "the prompt '\(prompt)' was not prepared")
        }
        return try GuidedTransformer(
            network,
            prompt: text,
            negative: negativePrompt.flatMap { embeddings[$0] },
            image: nil,
            guidance: Guidance(scale: options.guidance, isBatched: plan.isSmall)
        )
    }
}
