package import SwanModels
import SwanSchedulers
package import Torch
package import SwanSystem

/// A transformer of any Wan model.
package struct FlowTransformer: Sendable {
    /// What a control branch is shown, and how much it says.
    package typealias Control = (latents: Tensor, scale: Double)

    /// The text (and what CLIP sees) as the network attends to it.
    let text: @Sendable (Tensor, _ image: Tensor?) throws(SwanError) -> TextConditioning
    /// The flow for latents, timesteps and a text; with what earlier steps computed, if it is kept.
    let flow:
        @Sendable (Tensor, Tensor, TextConditioning, Control?, FirstBlockCache?) throws(SwanError)
            -> Tensor

    package init(_ network: WanTransformer) {
        text = { text, image throws(SwanError) in try network.text(text, image: image) }
        flow = { x, t, text, _, cache throws(SwanError) in
            try network(x, timesteps: t, text: text, cache: cache)
        }
    }

    /// A VACE model, which is always shown something.
    init(_ network: WanVACETransformer) {
        text = { text, image throws(SwanError) in try network.text(text, image: image) }
        flow = { x, t, text, control, cache throws(SwanError) in
            guard let control else {
                throw SwanError(.invalidArgument, "a VACE model is shown no control latents")
            }
            return try network(
                x,
                timesteps: t,
                text: text,
                control: control.latents,
                scale: control.scale,
                cache: cache
            )
        }
    }
}

/// A transformer with what it attends to, ready to predict flows.
package final class GuidedTransformer {
    private let network: FlowTransformer
    /// The text of each call of the network in a step: the prompt and what to be led away from, side
    /// by side or one after the other.
    private let calls: [(text: TextConditioning, cache: FirstBlockCache?)]
    private let control: FlowTransformer.Control?
    private let sideBySide: Bool
    private let guidance: Double
    /// Steps that reused what an earlier one had computed.
    var reusedSteps: Int { calls.map { $0.cache?.reused ?? 0 }.max() ?? 0 }

    /// - Parameters:
    ///   - prompt: [1, T, C]; `negative` likewise, nil where the flow is not led away from anything.
    ///   - image: what CLIP sees, for models that attend to it.
    ///   - control: what a control branch is shown.
    ///   - sideBySide: whether both texts go through the network as a batch.
    package init(
        _ network: FlowTransformer,
        prompt: Tensor,
        negative: Tensor?,
        image: Tensor?,
        control: FlowTransformer.Control? = nil,
        guidance: Double,
        sideBySide: Bool,
        cacheThreshold: Double?
    ) throws(SwanError) {
        self.network = network
        self.control = control
        self.guidance = guidance
        self.sideBySide = sideBySide && negative != nil
        var texts = [try network.text(prompt, image)]
        if let negative, sideBySide {
            // Zeros are padding.
            let longest = max(prompt.size(1), negative.size(1))
            let both = try concatenated([
                prompt.padded([0, 0, 0, longest - prompt.size(1)]),
                negative.padded([0, 0, 0, longest - negative.size(1)]),
            ])
            texts = [try network.text(both, image?.repeated([2, 1, 1]))]
        } else if let negative {
            texts.append(try network.text(negative, image))
        }
        calls = texts.map { ($0, cacheThreshold.map { FirstBlockCache(threshold: $0) }) }
    }

    /// The flow [1, C, F, h, w], led from the negative prompt to the prompt.
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
        if sideBySide {
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

/// What is put together with the noise for every step.
package struct DenoisingInput {
    /// Mask and image latents beside the noise [1, s + z, F, h, w].
    var beside: Tensor?
    /// The clean first latent frame [1, z, 1, h, w] of models that keep it.
    var firstFrame: Tensor?
    /// What a control branch is shown [1, 2 z + 64, R + F, h, w].
    var control: Tensor?
    /// What the network computes in.
    let dtype: DType

    package init(
        beside: Tensor? = nil,
        firstFrame: Tensor? = nil,
        control: Tensor? = nil,
        dtype: DType
    ) {
        self.beside = beside
        self.firstFrame = firstFrame
        self.control = control
        self.dtype = dtype
    }

    /// The network's input for noisy latents [1, z, F, h, w].
    package func latents(_ noisy: Tensor) throws(SwanError) -> Tensor {
        var x = try withFirstFrame(noisy)
        if let beside { x = try concatenated([x, beside], dim: 1) }
        return try x.to(dtype)
    }

    /// A timestep for every frame that has one of its own: a clean one is at 0.
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

    /// The latents with the clean first frame in its place.
    func withFirstFrame(_ latents: Tensor) throws(SwanError) -> Tensor {
        guard let firstFrame else { return latents }
        let rest = try latents.sliced(2, from: 1)
        return try concatenated([firstFrame.to(latents.dtype), rest], dim: 2)
    }
}
