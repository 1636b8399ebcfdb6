import Torch

/// A way to follow a predicted flow from noise to a clean sample.
///
/// A sample at noise level sigma is (1 - sigma) x0 + sigma noise, and the network predicts the flow
/// noise - x0 (https://arxiv.org/abs/2210.02747). A solver is a value: a copy goes on by itself.
///
///     var solver = FlowUniPC(try FlowSteps(50, shift: 5, spacing: .wanUniPC))
///     for timestep in solver.steps.timesteps {
///         latents = try solver.step(flow: network(latents, timestep), sample: latents)
///     }
///
/// Coefficients are numbers on the host, computed in float64, so nothing waits for a device.
/// Samples are float32 while they are computed with (float64 if they come so).
public protocol FlowSolver: Sendable {
    /// The noise levels and timesteps that it goes through.
    var steps: FlowSteps { get }
    /// How many steps have been taken.
    var index: Int { get }

    /// The sample at the next noise level, of the predicted flow at this one; in the sample's dtype.
    ///
    /// It throws after the last step, and where the flow's shape is not the sample's; a solver that
    /// has thrown is as it was.
    mutating func step(flow: Tensor, sample: Tensor) throws(TorchError) -> Tensor
}

/// A solver that puts new noise into the sample.
///
/// Copies go on by themselves but draw from the same generator.
public protocol StochasticFlowSolver: FlowSolver {
    /// Where noise comes from, on the sample's device.
    var generator: Generator { get }

    /// A step with noise drawn elsewhere: standard normal, in the sample's shape.
    mutating func step(flow: Tensor, sample: Tensor, noise: Tensor) throws(TorchError) -> Tensor
}

extension StochasticFlowSolver {
    /// A step with noise from the generator, in float32.
    public mutating func step(flow: Tensor, sample: Tensor) throws(TorchError) -> Tensor {
        try check(flow, sample)
        let noise = try Tensor.randn(sample.shape, generator, .float32, sample.device)
        return try step(flow: flow, sample: sample, noise: noise)
    }

    /// Refuses what `check` does, and noise that is not the sample's.
    func check(_ flow: Tensor, _ sample: Tensor, _ noise: Tensor) throws(TorchError) {
        try check(flow, sample)
        guard noise.shape == sample.shape else {
            throw TorchError(
                .invalidArgument,
                "noise \(noise.shape) for a sample \(sample.shape): both have the same shape"
            )
        }
    }
}

extension FlowSolver {
    /// The flow and the sample in the dtype computed in.
    func prepared(_ flow: Tensor, _ sample: Tensor) throws(TorchError) -> (v: Tensor, x: Tensor) {
        try check(flow, sample)
        let dtype: DType = sample.dtype == .float64 ? .float64 : .float32
        return (try flow.to(dtype), try sample.to(dtype))
    }

    /// The sample in the dtype computed in, and the clean sample x - sigma flow that is implied.
    func converted(_ flow: Tensor, _ sample: Tensor) throws(TorchError) -> (x: Tensor, x0: Tensor) {
        let (v, x) = try prepared(flow, sample)
        return (x, try x - v * Double(steps.sigmas[index]))
    }

    /// Refuses a step after the last, and a flow that is not the sample's.
    func check(_ flow: Tensor, _ sample: Tensor) throws(TorchError) {
        guard index < steps.count else {
            throw TorchError(
                .invalidArgument,
                "a step after the last of \(steps.count): another sample needs another solver"
            )
        }
        guard flow.shape == sample.shape else {
            throw TorchError(
                .invalidArgument,
                "a flow \(flow.shape) for a sample \(sample.shape): both have the same shape"
            )
        }
    }
}
