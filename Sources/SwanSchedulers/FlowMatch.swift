import Foundation
public import Torch
public import SwanSystem

/// A flow-matching schedule: the amount of noise at each timestep.
///
/// A noisy sample is x_t = (1 - sigma) x0 + sigma noise, and the network predicts the flow noise -
/// x0 (Flow Matching, https://arxiv.org/abs/2210.02747; the shift toward more noise is that of
/// Stable Diffusion 3, https://arxiv.org/abs/2403.03206, equation 23). The tables are float32 and
/// are looked up as in StreamDiffusionV2 (models/wan/flow_match.py). Sigmas are numbers on the
/// host, so no call synchronizes with a device.
public struct FlowMatch: Sendable {
    /// The noise level of every step, in decreasing order.
    public let sigmas: [Float]
    /// `sigmas` times the number of training timesteps: the input of the network.
    public let timesteps: [Float]
    /// The number of training timesteps; a timestep is between 0 and this.
    public let trainingTimesteps: Int
    /// The noise level after the last step.
    private let finalSigma: Float

    /// The options of a schedule, with the reference's names and defaults.
    public struct Options: Sendable, Equatable {
        /// The number of table entries.
        public var steps = 100
        /// The number of training timesteps.
        public var trainingTimesteps = 1_000
        /// Values above 1 spend more steps at high noise.
        public var shift = 3.0
        /// The noise level of the first entry, before the shift.
        public var sigmaMax = 1.0
        /// The noise level of the last entry, before the shift.
        public var sigmaMin = 0.003 / 1.002
        /// The position of the first entry between `sigmaMin` and `sigmaMax`; below 1 for editing.
        public var denoisingStrength = 1.0
        /// Whether to compute one more entry and drop the last one, `sigmaMin`.
        public var extraOneStep = false
        /// Whether the table is in increasing order of noise.
        public var inverseTimesteps = false
        /// Whether to replace every noise level sigma by 1 - sigma.
        public var reverseSigmas = false

        /// Creates the reference's defaults.
        public init() {}

        /// The table of 1,000 entries down to zero that StreamDiffusionV2 uses for streaming.
        public static func streaming(shift: Double) -> Options {
            var options = Options()
            (options.steps, options.sigmaMin, options.extraOneStep) = (1_000, 0, true)
            options.shift = shift
            return options
        }
    }

    /// Creates the tables for `options`.
    public init(_ options: Options) throws(SwanError) {
        try options.check()
        var points = options.points()
        if options.inverseTimesteps { points.reverse() }
        let shift = Float(options.shift)
        sigmas = points.map { point in
            let shifted = shift * point / (1 + Float(options.shift - 1) * point)
            return options.reverseSigmas ? 1 - shifted : shifted
        }
        timesteps = sigmas.map { $0 * Float(options.trainingTimesteps) }
        trainingTimesteps = options.trainingTimesteps
        finalSigma = options.inverseTimesteps || options.reverseSigmas ? 1 : 0
    }

    /// The noise level of the table entry nearest to `timestep`, or of the first if two are equally
    /// near.
    ///
    /// This also applies to integer timesteps, so the result can differ from `timestep` / 1000.
    public func sigma(at timestep: Double) -> Double { Double(sigmas[index(of: timestep)]) }

    /// The weight of a training loss at `timestep`: largest in the middle and zero at one end.
    public func trainingWeight(at timestep: Double) -> Double {
        trainingWeights()[index(of: timestep)]
    }

    /// The training loss weight of every entry, with a mean of 1.
    public func trainingWeights() -> [Double] {
        let steps = Double(sigmas.count)
        let bell = timesteps.map { Foundation.exp(-2 * pow((Double($0) - steps / 2) / steps, 2)) }
        let lowest = bell.min() ?? 0
        let sum = bell.reduce(0) { $0 + ($1 - lowest) }
        return bell.map { ($0 - lowest) * steps / sum }
    }

    private func index(of timestep: Double) -> Int {
        var best = (index: 0, distance: Double.infinity)
        for (index, entry) in timesteps.enumerated() {
            let distance = abs(Double(entry) - timestep)
            if distance < best.distance { best = (index, distance) }
        }
        return best.index
    }
}

// MARK: - Samples

extension FlowMatch {
    /// The timesteps of a sample.
    public enum Timesteps: Sendable, Equatable {
        /// One timestep for the whole sample.
        case all(Double)
        /// One timestep per row (entry of the first dimension).
        case rows([Double])
        /// One timestep per row and frame of [B, C, F, H, W].
        case frames([[Double]])
    }

    /// The noisy sample (1 - sigma) x0 + sigma noise, computed in float32 and returned in the
    /// noise's dtype.
    public func addNoise(
        _ clean: Tensor,
        _ noise: Tensor,
        at timesteps: Timesteps
    ) throws(SwanError) -> Tensor {
        let (x0, n) = (try clean.to(.float32), try noise.to(.float32))
        guard case .all(let timestep) = timesteps else {
            let sigma = try sigmas(timesteps, for: clean).to(.float32)
            return try ((1 - sigma) * x0 + sigma * n).to(noise.dtype)
        }
        let sigma = Float(sigma(at: timestep))
        return try (x0 * Double(1 - sigma) + n * Double(sigma)).to(noise.dtype)
    }

    /// The clean sample that a predicted flow implies: x_t - sigma flow.
    ///
    /// Computed in float64 and rounded once to the flow's dtype.
    public func clean(
        fromFlow flow: Tensor,
        _ noisy: Tensor,
        at timesteps: Timesteps
    ) throws(SwanError) -> Tensor {
        let (v, x) = (try flow.to(.float64), try noisy.to(.float64))
        guard case .all(let timestep) = timesteps else {
            return try (x - sigmas(timesteps, for: noisy) * v).to(flow.dtype)
        }
        return try (x - v * sigma(at: timestep)).to(flow.dtype)
    }

    /// The flow that a predicted clean sample implies: (x_t - x0) / sigma, in float64.
    ///
    /// The result is infinite where the table has a noise level of 0.
    public func flow(
        fromClean clean: Tensor,
        _ noisy: Tensor,
        at timesteps: Timesteps
    ) throws(SwanError) -> Tensor {
        let difference = try noisy.to(.float64) - clean.to(.float64)
        return try (difference / sigmas(timesteps, for: noisy)).to(clean.dtype)
    }

    /// One Euler step along a predicted flow, to the next table entry.
    ///
    /// After the last entry comes the clean sample. In the reference, all rows go there as soon as
    /// one does; here, rows are independent.
    public func step(
        _ noisy: Tensor,
        flow: Tensor,
        at timesteps: Timesteps
    ) throws(SwanError) -> Tensor {
        let change = try values(timesteps, for: noisy) { timestep in
            let index = index(of: timestep)
            let next = index + 1 < sigmas.count ? sigmas[index + 1] : finalSigma
            return Double(next - sigmas[index])
        }
        return try noisy + flow * change.to(flow.dtype)
    }

    private func sigmas(_ timesteps: Timesteps, for sample: Tensor) throws(SwanError) -> Tensor {
        try values(timesteps, for: sample, sigma(at:))
    }

    /// A number for every timestep, in a shape that broadcasts to `sample`.
    private func values(
        _ timesteps: Timesteps,
        for sample: Tensor,
        _ number: (Double) -> Double
    ) throws(SwanError) -> Tensor {
        let shape = sample.shape
        var target = Array(repeating: 1, count: shape.count)
        let list: [Double]
        switch timesteps {
        case .all(let timestep):
            list = [timestep]
        case .rows(let rows):
            guard let count = shape.first, count == rows.count else {
                throw SwanError(
                    .invalidArgument,
                    "\(rows.count) timesteps do not match the rows of a sample of shape \(shape)"
                )
            }
            target[0] = count
            list = rows
        case .frames(let rows):
            guard shape.count == 5, shape[0] == rows.count,
                rows.allSatisfy({ $0.count == shape[2] })
            else {
                throw SwanError(
                    .invalidArgument,
                    "\(rows.map(\.count)) timesteps per row do not match the frames of a sample of shape \(shape)"
                )
            }
            (target[0], target[2]) = (shape[0], shape[2])
            list = rows.flatMap { $0 }
        }
        return try Tensor(list.map(number), target).to(sample.device)
    }
}

// MARK: - Lists of steps

extension FlowMatch {
    /// The timesteps of a few-step model from the list in its configuration, such as 700, 500, 0.
    ///
    /// - Parameters:
    ///   - list: Decreasing timesteps; the final 0 means that the last step returns a clean sample.
    ///   - count: The number of timesteps to use, from the front; nil for all.
    ///   - warped: Whether entries are positions in this table, counted from its end, instead of
    ///     timesteps.
    ///   - keepingZero: Whether the 0 is also a step, as in the reference when there is no input.
    public func denoisingSteps(
        _ list: [Int],
        count: Int? = nil,
        warped: Bool = false,
        keepingZero: Bool = false
    ) throws(SwanError) -> [Double] {
        guard list.last == 0, list.count > 1, list.allSatisfy({ 0...trainingTimesteps ~= $0 }),
            zip(list, list.dropFirst()).allSatisfy(>)
        else {
            throw SwanError(
                .invalidOption,
                "denoising_step_list \(list) must decrease from at most "
                    + "\(trainingTimesteps) to 0, such as [700, 500, 400, 200, 0]"
            )
        }
        let steps = list.dropLast()
        guard count.map({ 1...steps.count ~= $0 }) ?? true else {
            throw SwanError(
                .invalidOption,
                "cannot use \(count ?? 0) steps: the model's denoising_step_list has \(steps.count), so "
                    + "choose 1 to \(steps.count)"
            )
        }
        let chosen = Array(steps.prefix(count ?? steps.count)) + (keepingZero ? [0] : [])
        return warped ? try self.warped(chosen) : chosen.map(Double.init)
    }

    /// The table entries at positions counted from its end: 0 is timestep 0, and 1 the last entry.
    public func warped(_ steps: [Int]) throws(SwanError) -> [Double] {
        let positions = 0...timesteps.count
        guard timesteps.count == trainingTimesteps, steps.allSatisfy(positions.contains) else {
            throw SwanError(
                .invalidOption,
                "steps \(steps) cannot be warped: positions must be 0 to \(trainingTimesteps), and the "
                    + "table needs that number of entries but has \(timesteps.count)"
            )
        }
        return steps.map { $0 == 0 ? 0 : Double(timesteps[timesteps.count - $0]) }
    }
}

// MARK: - Tables

extension FlowMatch.Options {
    fileprivate func check() throws(SwanError) {
        func invalid(_ message: String) -> SwanError {
            SwanError(.invalidOption, message)
        }
        guard 1...1_000_000 ~= steps else {
            throw invalid("\(steps) steps are not in 1 to 1000000")
        }
        guard 1...1_000_000 ~= trainingTimesteps else {
            throw invalid("\(trainingTimesteps) training timesteps are not in 1 to 1000000")
        }
        guard shift.isFinite, shift > 0 else {
            throw invalid("invalid shift \(shift): must be above 0; 1 disables it")
        }
        guard 0 <= sigmaMin, sigmaMin < sigmaMax, sigmaMax <= 1 else {
            throw invalid(
                "invalid noise levels \(sigmaMin) to \(sigmaMax): must increase, within 0 and 1"
            )
        }
        guard 0 < denoisingStrength, denoisingStrength <= 1 else {
            throw invalid(
                "invalid denoising strength \(denoisingStrength): must be above 0 and at most 1"
            )
        }
    }

    /// Evenly spaced noise levels, before the shift.
    fileprivate func points() -> [Float] {
        let start = Float(sigmaMin + (sigmaMax - sigmaMin) * denoisingStrength)
        let count = extraOneStep ? steps + 1 : steps
        return Array(evenlySpaced(from: start, to: Float(sigmaMin), count).prefix(steps))
    }
}

/// `count` evenly spaced numbers in float32, with the bits of PyTorch's `linspace`: each half is
/// computed from its own end, and the product and the sum are rounded once (fused).
func evenlySpaced(from start: Float, to end: Float, _ count: Int) -> [Float] {
    guard count > 1 else { return [start] }
    let step = (end - start) / Float(count - 1)
    return (0..<count).map { index in
        index < count / 2
            ? start.addingProduct(step, Float(index))
            : end.addingProduct(-step, Float(count - 1 - index))
    }
}
