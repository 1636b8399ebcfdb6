public import Torch
public import SwanSystem

/// Few-step sampling for distilled models: each step predicts the clean sample and adds new noise.
///
/// The multistep sampling of consistency models (https://arxiv.org/abs/2303.01469, algorithm 1) for
/// a flow, as models distilled by distribution matching are run (https://arxiv.org/abs/2405.14867;
/// StreamDiffusionV2 without its stream): x0 = x - sigma flow, x_t = (1 - sigma_t) x0 + sigma_t
/// noise. The conversions and the timestep table are those of `FlowMatch`.
public struct FlowFewStep: StochasticFlowSolver {
    /// The noise levels and timesteps of the steps.
    public let steps: FlowSteps
    /// The source of noise, on the sample's device.
    public let generator: Generator
    /// The number of completed steps.
    public private(set) var index = 0
    private let schedule: FlowMatch

    /// Creates a solver before its first step; `timesteps` are decreasing, as from
    /// `FlowMatch.denoisingSteps`.
    public init(
        _ schedule: FlowMatch,
        timesteps: [Double],
        generator: Generator
    ) throws(SwanError) {
        let range = 0...Double(schedule.trainingTimesteps)
        guard !timesteps.isEmpty, timesteps.allSatisfy(range.contains),
            zip(timesteps, timesteps.dropFirst()).allSatisfy(>)
        else {
            throw SwanError(
                .invalidOption,
                "timesteps \(timesteps) must decrease from at most "
                    + "\(schedule.trainingTimesteps), such as [1000, 750, 500, 250]"
            )
        }
        steps = try FlowSteps(
            sigmas: timesteps.map { Float(schedule.sigma(at: $0)) },
            timesteps: timesteps.map(Float.init)
        )
        (self.schedule, self.generator) = (schedule, generator)
    }

    /// The clean sample, with noise of the next level added unless this is the last step.
    public mutating func step(
        flow: Tensor,
        sample: Tensor,
        noise: Tensor
    ) throws(SwanError) -> Tensor {
        try check(flow, sample, noise)
        let now = FlowMatch.Timesteps.all(Double(steps.timesteps[index]))
        var next = try schedule.clean(fromFlow: flow, sample, at: now)
        if index + 1 < steps.count {
            let then = FlowMatch.Timesteps.all(Double(steps.timesteps[index + 1]))
            next = try schedule.addNoise(next, noise, at: then)
        }
        next = try next.to(sample.dtype)
        index += 1
        return next
    }
}
