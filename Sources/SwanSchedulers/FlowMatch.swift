import Foundation
import Torch

/// A schedule of flow matching: how much noise there is at a timestep.
///
/// A noised sample is x_t = (1 - sigma) x0 + sigma noise, and the network predicts the flow
/// noise - x0 (Flow Matching, https://arxiv.org/abs/2210.02747; the shift towards more noise is
/// that of Stable Diffusion 3, https://arxiv.org/abs/2403.03206, equation 23). The tables are
/// float32 and are looked up as in StreamDiffusionV2 (models/wan/flow_match.py). A sigma is a
/// number on the host, so nothing here waits for a device.
public struct FlowMatch: Sendable {
    /// The noise level of every step, from the noisiest on.
    public let sigmas: [Float]
    /// `sigmas` times the timesteps of training: what the network is told.
    public let timesteps: [Float]
    /// Timesteps of training; a timestep is between 0 and this.
    public let trainingTimesteps: Int
    /// The noise level that follows the last step.
    private let finalSigma: Float

    /// What a schedule is made from. The names and the defaults are the reference's.
    public struct Options: Sendable, Equatable {
        /// Entries of the tables.
        public var steps = 100
        /// Timesteps of training.
        public var trainingTimesteps = 1_000
        /// Above 1, more of the steps are spent at high noise.
        public var shift = 3.0
        /// The noise level of the first entry, before the shift.
        public var sigmaMax = 1.0
        /// The noise level of the last entry, before the shift.
        public var sigmaMin = 0.003 / 1.002
        /// How far from `sigmaMin` to `sigmaMax` the first entry is; below 1 for editing.
        public var denoisingStrength = 1.0
        /// Whether one more entry is made and the last one, `sigmaMin`, dropped.
        public var extraOneStep = false
        /// Whether the table runs from little noise to much.
        public var inverseTimesteps = false
        /// Whether every noise level is replaced by one minus it.
        public var reverseSigmas = false

        /// The reference's defaults, to be changed.
        public init() {}

        /// A fine table down to zero, as StreamDiffusionV2 streams with.
        public static func streaming(shift: Double) -> Options {
            var options = Options()
            (options.steps, options.sigmaMin, options.extraOneStep) = (1_000, 0, true)
            options.shift = shift
            return options
        }
    }

    /// The tables for `options`.
    public init(_ options: Options) throws(SchedulerError) {
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

    /// The noise level of the table's entry nearest to `timestep`; of two as near, the first.
    ///
    /// The nearest entry's, also for an integer timestep: not `timestep` over 1000.
    public func sigma(at timestep: Double) -> Double { Double(sigmas[index(of: timestep)]) }

    /// How much a training loss at `timestep` counts: most in the middle, nothing at an end.
    public func trainingWeight(at timestep: Double) -> Double {
        trainingWeights()[index(of: timestep)]
    }

    /// The weight of every entry in a training loss; their mean is 1.
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
    /// Which timestep belongs to which part of a sample.
    public enum Timesteps: Sendable, Equatable {
        /// One for the whole sample.
        case all(Double)
        /// One for each entry of the first dimension.
        case rows([Double])
        /// One for each row and frame of [B, C, F, H, W].
        case frames([[Double]])
    }

    /// x_t of a clean sample: (1 - sigma) x0 + sigma noise, in float32, in the noise's dtype.
    public func addNoise(
        _ clean: Tensor,
        _ noise: Tensor,
        at timesteps: Timesteps
    ) throws(TorchError) -> Tensor {
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
    ) throws(TorchError) -> Tensor {
        let (v, x) = (try flow.to(.float64), try noisy.to(.float64))
        guard case .all(let timestep) = timesteps else {
            return try (x - sigmas(timesteps, for: noisy) * v).to(flow.dtype)
        }
        return try (x - v * sigma(at: timestep)).to(flow.dtype)
    }

    /// The flow that a predicted clean sample implies: (x_t - x0) / sigma, in float64.
    ///
    /// It is infinite where the table has a noise level of 0.
    public func flow(
        fromClean clean: Tensor,
        _ noisy: Tensor,
        at timesteps: Timesteps
    ) throws(TorchError) -> Tensor {
        let difference = try noisy.to(.float64) - clean.to(.float64)
        return try (difference / sigmas(timesteps, for: noisy)).to(clean.dtype)
    }

    /// One step of Euler's method along a predicted flow, to the table's next entry.
    ///
    /// Past the last entry is the clean sample. The reference takes all rows there as soon as one
    /// is; here each goes by itself.
    public func step(
        _ noisy: Tensor,
        flow: Tensor,
        at timesteps: Timesteps
    ) throws(TorchError) -> Tensor {
        let change = try values(timesteps, for: noisy) { timestep in
            let index = index(of: timestep)
            let next = index + 1 < sigmas.count ? sigmas[index + 1] : finalSigma
            return Double(next - sigmas[index])
        }
        return try noisy + flow * change.to(flow.dtype)
    }

    private func sigmas(_ timesteps: Timesteps, for sample: Tensor) throws(TorchError) -> Tensor {
        try values(timesteps, for: sample, sigma(at:))
    }

    /// A number for every timestep, in the shape that spreads over `sample`.
    private func values(
        _ timesteps: Timesteps,
        for sample: Tensor,
        _ number: (Double) -> Double
    ) throws(TorchError) -> Tensor {
        let shape = sample.shape
        var target = Array(repeating: 1, count: shape.count)
        let list: [Double]
        switch timesteps {
        case .all(let timestep):
            list = [timestep]
        case .rows(let rows):
            guard let count = shape.first, count == rows.count else {
                throw TorchError(
                    .invalidArgument,
                    "\(rows.count) timesteps for the rows of a sample \(shape)"
                )
            }
            target[0] = count
            list = rows
        case .frames(let rows):
            guard shape.count == 5, shape[0] == rows.count,
                rows.allSatisfy({ $0.count == shape[2] })
            else {
                throw TorchError(
                    .invalidArgument,
                    "timesteps \(rows.map(\.count)) for the frames of a sample \(shape)"
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
    /// The timesteps of a few-step model from the list in its config, such as 700, 500, 0.
    ///
    /// - Parameters:
    ///   - list: falling timesteps; the 0 at the end says that the last step gives a clean sample.
    ///   - count: how many of them to use, from the front; nil for all.
    ///   - warped: whether to take the entries as places in this table (1000 the first) instead.
    ///   - keepingZero: whether the 0 is a step as well, as the reference has it without an input.
    public func denoisingSteps(
        _ list: [Int],
        count: Int? = nil,
        warped: Bool = false,
        keepingZero: Bool = false
    ) throws(SchedulerError) -> [Double] {
        guard list.last == 0, list.count > 1, list.allSatisfy({ 0...trainingTimesteps ~= $0 }),
            zip(list, list.dropFirst()).allSatisfy(>)
        else {
            throw SchedulerError(
                .invalidOption,
                "denoising_step_list \(list): it should fall from at most "
                    + "\(trainingTimesteps) to 0, such as [700, 500, 400, 200, 0]"
            )
        }
        let steps = list.dropLast()
        guard count.map({ 1...steps.count ~= $0 }) ?? true else {
            throw SchedulerError(
                .invalidOption,
                "\(count ?? 0) steps: the model's denoising_step_list has \(steps.count), so 1 to "
                    + "\(steps.count) can be used"
            )
        }
        let chosen = Array(steps.prefix(count ?? steps.count)) + (keepingZero ? [0] : [])
        return warped ? try self.warped(chosen) : chosen.map(Double.init)
    }

    /// The table's entries at places counted from its end: 0 is a timestep of 0, 1 the last entry.
    public func warped(_ steps: [Int]) throws(SchedulerError) -> [Double] {
        let places = 0...timesteps.count
        guard timesteps.count == trainingTimesteps, steps.allSatisfy(places.contains) else {
            throw SchedulerError(
                .invalidOption,
                "steps \(steps) cannot be warped: places are 0 to \(trainingTimesteps) in a "
                    + "table of that many entries, and this one has \(timesteps.count)"
            )
        }
        return steps.map { $0 == 0 ? 0 : Double(timesteps[timesteps.count - $0]) }
    }
}

// MARK: - Tables

extension FlowMatch.Options {
    fileprivate func check() throws(SchedulerError) {
        func refuse(_ what: String) -> SchedulerError { SchedulerError(.invalidOption, what) }
        guard 1...1_000_000 ~= steps else {
            throw refuse("\(steps) steps: a schedule has 1 to 1000000")
        }
        guard 1...1_000_000 ~= trainingTimesteps else {
            throw refuse("\(trainingTimesteps) timesteps of training: 1 to 1000000 would be right")
        }
        guard shift.isFinite, shift > 0 else {
            throw refuse("a shift of \(shift): it should be above 0, 1 for none")
        }
        guard 0 <= sigmaMin, sigmaMin < sigmaMax, sigmaMax <= 1 else {
            throw refuse("noise levels from \(sigmaMin) to \(sigmaMax): they rise, within 0 and 1")
        }
        guard 0 < denoisingStrength, denoisingStrength <= 1 else {
            throw refuse("a denoising strength of \(denoisingStrength): above 0, at most 1")
        }
    }

    /// Evenly spaced noise levels in PyTorch's float32: each half counted from its own end.
    fileprivate func points() -> [Float] {
        let start = Float(sigmaMin + (sigmaMax - sigmaMin) * denoisingStrength)
        let end = Float(sigmaMin)
        let count = extraOneStep ? steps + 1 : steps
        guard count > 1 else { return [start] }
        let step = (end - start) / Float(count - 1)
        return (0..<steps).map { index in
            index < count / 2
                ? start + step * Float(index) : end - step * Float(count - 1 - index)
        }
    }
}
