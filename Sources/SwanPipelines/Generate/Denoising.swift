import SwanDistributed
package import SwanModels
import SwanSchedulers
package import Torch
package import SwanSystem

/// The transformer of any Wan model.
package struct FlowTransformer: Sendable {
    /// The input of a control branch and the scale of its effect.
    package typealias Control = (latents: Tensor, scale: Double)

    /// Prepares text embeddings (and CLIP image features) for cross-attention.
    let text: @Sendable (Tensor, _ image: Tensor?) throws(SwanError) -> TextConditioning
    /// Predicts the flow for latents, timesteps and a text; a cache reuses earlier steps' results.
    let flow:
        @Sendable (Tensor, Tensor, TextConditioning, Control?, FirstBlockCache?) throws(SwanError)
            -> Tensor
    /// Makes a cache whose decisions hold for all who compute a flow together.
    let cache: @Sendable (_ threshold: Double) -> FirstBlockCache
    /// The same network with the tokens divided among ranks.
    let dividing: @Sendable (SequenceParallel) -> FlowTransformer

    package init(_ network: WanTransformer) { self.init(network, nil) }

    /// A VACE model, which always requires control latents.
    init(_ network: WanVACETransformer) { self.init(network, nil) }

    private init(_ network: WanTransformer, _ sequence: SequenceParallel?) {
        text = { text, image throws(SwanError) in try network.text(text, image: image) }
        flow = { x, t, text, _, cache throws(SwanError) in
            guard let sequence else {
                return try network(x, timesteps: t, text: text, cache: cache)
            }
            return try network(x, timesteps: t, text: text, cache: cache, dividing: sequence)
        }
        cache = Self.makeCache(sequence)
        dividing = { FlowTransformer(network, $0) }
    }

    private init(_ network: WanVACETransformer, _ sequence: SequenceParallel?) {
        text = { text, image throws(SwanError) in try network.text(text, image: image) }
        flow = { x, t, text, control, cache throws(SwanError) in
            guard let (control, scale) = control else {
                throw SwanError(.invalidArgument, "a VACE model requires control latents")
            }
            guard let sequence else {
                return try network(
                    x,
                    timesteps: t,
                    text: text,
                    control: control,
                    scale: scale,
                    cache: cache
                )
            }
            return try network(
                x,
                timesteps: t,
                text: text,
                control: control,
                scale: scale,
                cache: cache,
                dividing: sequence
            )
        }
        cache = Self.makeCache(sequence)
        dividing = { FlowTransformer(network, $0) }
    }

    private static func makeCache(
        _ sequence: SequenceParallel?
    ) -> @Sendable (Double) -> FirstBlockCache {
        { threshold in
            sequence?.makeCache(threshold: threshold) ?? FirstBlockCache(threshold: threshold)
        }
    }
}

/// Classifier-free guidance, and how its branches are computed.
package struct Guidance: Sendable {
    /// How far to move from the negative prompt toward the prompt; 1 is off.
    package let scale: Double
    /// Whether both texts go through the network as one batch.
    package let isBatched: Bool
    /// The largest change in the first block's output at which a step reuses the previous step's
    /// results; `nil` for never.
    package let cacheThreshold: Double?

    /// Creates guidance.
    package init(scale: Double, isBatched: Bool = false, cacheThreshold: Double? = nil) {
        self.scale = scale
        self.isBatched = isBatched
        self.cacheThreshold = cacheThreshold
    }
}

/// A transformer with its text and image conditioning, ready to predict flows.
package final class GuidedTransformer {
    private let network: FlowTransformer
    /// The texts of the network's calls in a step: prompt and negative prompt, batched or separate.
    private let calls: [(text: TextConditioning, cache: FirstBlockCache?)]
    private let control: FlowTransformer.Control?
    private let batchesGuidance: Bool
    private let guidance: Double
    /// This rank and the one that computes the other branch; nil without, or without guidance.
    private let branches: ProcessGroup?
    /// The number of steps that reused an earlier step's results.
    var reusedSteps: Int { calls.map { $0.cache?.reused ?? 0 }.max() ?? 0 }

    /// Creates a guided transformer.
    ///
    /// - Parameters:
    ///   - prompt: The embedding of the prompt [1, T, C].
    ///   - negative: The embedding of the negative prompt [1, T, C]; `nil` without guidance.
    ///   - image: The CLIP image features, for models that attend to them.
    ///   - control: The input of the control branch.
    ///   - division: How ranks divide the flow; nil if this process computes all of it.
    init(
        _ network: FlowTransformer,
        prompt: Tensor,
        negative: Tensor?,
        image: Tensor?,
        control: FlowTransformer.Control? = nil,
        guidance: Guidance,
        division: FlowDivision?
    ) throws(SwanError) {
        let network = division?.sequence.map(network.dividing) ?? network
        let branches = negative == nil ? nil : division?.branches
        self.network = network
        self.control = control
        self.guidance = guidance.scale
        self.branches = branches
        batchesGuidance = guidance.isBatched && negative != nil && branches == nil
        var texts = [try network.text(prompt, image)]
        if let negative, let branches {
            if branches.rank == 1 { texts = [try network.text(negative, image)] }
        } else if let negative, guidance.isBatched {
            // Pad with zeros.
            let longest = max(prompt.size(1), negative.size(1))
            let both = try concatenated([
                prompt.padded([0, 0, 0, longest - prompt.size(1)]),
                negative.padded([0, 0, 0, longest - negative.size(1)]),
            ])
            texts = [try network.text(both, image?.repeated([2, 1, 1]))]
        } else if let negative {
            texts.append(try network.text(negative, image))
        }
        calls = texts.map { ($0, guidance.cacheThreshold.map(network.cache)) }
    }

    /// The same on this process alone.
    package convenience init(
        _ network: FlowTransformer,
        prompt: Tensor,
        negative: Tensor?,
        image: Tensor?,
        control: FlowTransformer.Control? = nil,
        guidance: Guidance
    ) throws(SwanError) {
        try self.init(
            network,
            prompt: prompt,
            negative: negative,
            image: image,
            control: control,
            guidance: guidance,
            division: nil
        )
    }

    /// Predicts the flow [1, C, F, h, w], guided from the negative prompt toward the prompt.
    ///
    /// Classifier-free guidance, https://arxiv.org/abs/2207.12598: u + g (c - u).
    package func flow(_ input: Tensor, timesteps: Tensor) throws(SwanError) -> Tensor {
        func predicted(
            _ call: Int,
            _ input: Tensor,
            _ timesteps: Tensor
        ) throws(SwanError) -> Tensor {
            let (text, cache) = calls[call]
            return try network.flow(input, timesteps, text, control, cache).to(.float32)
        }
        let (c, u): (Tensor, Tensor)
        if let branches {
            let own = try predicted(0, input, timesteps)
            let rows = try branches.gathered(own, counts: [1, 1], isSame: true).chunked(2, dim: 0)
            (c, u) = (rows[0], rows[1])
        } else if batchesGuidance {
            let rows = try predicted(
                0,
                input.repeated([2, 1, 1, 1, 1]),
                timesteps.repeated([2, 1])
            ).chunked(2, dim: 0)
            (c, u) = (rows[0], rows[1])
        } else {
            c = try predicted(0, input, timesteps)
            guard calls.count > 1 else { return c }
            u = try predicted(1, input, timesteps)
        }
        return try u + (c - u) * guidance
    }
}

/// The conditioning that is combined with the noisy latents at every step.
package struct DenoisingInput {
    /// The mask and image latents [1, s + z, F, h, w] appended to the noisy latents as channels.
    var extraChannels: Tensor?
    /// The clean first latent frame [1, z, 1, h, w], for models that keep it.
    var firstFrame: Tensor?
    /// The input of the control branch [1, 2 z + 64, R + F, h, w].
    var control: Tensor?
    /// The dtype of the network's computation.
    let dtype: DType

    package init(
        extraChannels: Tensor? = nil,
        firstFrame: Tensor? = nil,
        control: Tensor? = nil,
        dtype: DType
    ) {
        self.extraChannels = extraChannels
        self.firstFrame = firstFrame
        self.control = control
        self.dtype = dtype
    }

    /// Returns the network's input for noisy latents [1, z, F, h, w].
    package func latents(_ noisy: Tensor) throws(SwanError) -> Tensor {
        var x = try withFirstFrame(noisy)
        if let extraChannels { x = try concatenated([x, extraChannels], dim: 1) }
        return try x.to(dtype)
    }

    /// Returns one timestep for all frames, or one per frame if the first is clean (timestep 0).
    package func timesteps(_ timestep: Float, frames: Int, on device: Device) throws(SwanError)
        -> Tensor
    {
        guard firstFrame != nil, frames > 1 else {
            let only = firstFrame == nil ? timestep : 0
            return try Tensor([only], [1, 1]).to(device)
        }
        let steps = [0] + Array(repeating: timestep, count: frames - 1)
        return try Tensor(steps, [1, frames]).to(device)
    }

    /// Returns the latents with the first frame replaced by the clean one, if there is one.
    func withFirstFrame(_ latents: Tensor) throws(SwanError) -> Tensor {
        guard let firstFrame else { return latents }
        let rest = try latents.sliced(2, from: 1)
        return try concatenated([firstFrame.to(latents.dtype), rest], dim: 2)
    }
}
