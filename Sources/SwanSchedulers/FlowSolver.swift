public import Torch
public import SwanSystem

/// A solver that follows a predicted flow from noise to a clean sample.
///
/// A sample at noise level sigma is (1 - sigma) x0 + sigma noise, and the network predicts the flow
/// noise - x0 (https://arxiv.org/abs/2210.02747). Solvers are values: copies are independent.
///
///     var solver = FlowUniPC(try FlowSteps(50, shift: 5, spacing: .wanUniPC))
///     for timestep in solver.steps.timesteps {
///         latents = try solver.step(flow: network(latents, timestep), sample: latents)
///     }
///
/// Coefficients are float64 numbers on the host, so no call synchronizes with a device. Samples are
/// computed in float32, or in float64 if that is their dtype.
public protocol FlowSolver: Sendable {
    /// The noise levels and timesteps of the steps.
    var steps: FlowSteps { get }
    /// The number of completed steps.
    var index: Int { get }

    /// The sample at the next noise level, given the predicted flow at this one, in the sample's
    /// dtype.
    ///
    /// Throws after the last step, and if the shapes of flow and sample differ. The solver is
    /// unchanged when it throws.
    mutating func step(flow: Tensor, sample: Tensor) throws(SwanError) -> Tensor
}

/// A solver that adds new noise to the sample.
///
/// Copies are independent but draw from the same generator.
public protocol StochasticFlowSolver: FlowSolver {
    /// The source of noise, on the sample's device.
    var generator: Generator { get }

    /// A step with given standard normal noise of the sample's shape.
    mutating func step(flow: Tensor, sample: Tensor, noise: Tensor) throws(SwanError) -> Tensor
}

extension StochasticFlowSolver {
    /// A step with noise from the generator, in float32.
    public mutating func step(flow: Tensor, sample: Tensor) throws(SwanError) -> Tensor {
        try check(flow, sample)
        let noise = try Tensor.randn(sample.shape, generator, .float32, sample.device)
        return try step(flow: flow, sample: sample, noise: noise)
    }

    /// Checks the step, the flow and the noise.
    func check(_ flow: Tensor, _ sample: Tensor, _ noise: Tensor) throws(SwanError) {
        try check(flow, sample)
        guard noise.shape == sample.shape else {
            throw SwanError(
                .invalidArgument,
                "noise of shape \(noise.shape) does not match a sample of shape \(sample.shape)"
            )
        }
    }
}

extension FlowSolver {
    /// The flow and the sample in the compute dtype.
    func prepared(_ flow: Tensor, _ sample: Tensor) throws(SwanError) -> (v: Tensor, x: Tensor) {
        try check(flow, sample)
        let dtype: DType = sample.dtype == .float64 ? .float64 : .float32
        return (try flow.to(dtype), try sample.to(dtype))
    }

    /// The sample in the compute dtype, and the implied clean sample x - sigma flow.
    func converted(_ flow: Tensor, _ sample: Tensor) throws(SwanError) -> (x: Tensor, x0: Tensor) {
        let (v, x) = try prepared(flow, sample)
        return (x, try x - v * Double(steps.sigmas[index]))
    }

    /// Throws after the last step, or if the shapes of flow and sample differ.
    func check(_ flow: Tensor, _ sample: Tensor) throws(SwanError) {
        guard index < steps.count else {
            throw SwanError(
                .invalidArgument,
                "the last step (\(steps.count)) is done; use a new solver for another sample"
            )
        }
        guard flow.shape == sample.shape else {
            throw SwanError(
                .invalidArgument,
                "a flow of shape \(flow.shape) does not match a sample of shape \(sample.shape)"
            )
        }
    }
}
