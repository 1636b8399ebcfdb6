package import SwanCheckpoints
package import SwanDistillation
package import SwanModels
import SwanSchedulers
package import SwanSystem
package import SwanTraining
package import Torch
package import TorchNN

/// Fine-tuning by flow matching: the network learns the flow from data to noise at noise levels
/// between them.
///
/// Flow Matching, https://arxiv.org/abs/2210.02747: x = (1 - sigma) x0 + sigma noise, and the loss
/// is the mean of (v(x, 1000 sigma) - (noise - x0))² in float32. All weights are trained, or a LoRA.
/// A model with two transformers trains one a step: that of a noise level drawn for the step.
package struct FlowTuning: Method {
    /// The data of a micro-batch.
    package struct Batch: Sendable {
        /// Clean latents [B, z, F, H, W].
        package let latents: Tensor
        package let condition: TunedNetwork.Condition

        /// Creates a batch.
        package init(latents: Tensor, _ condition: TunedNetwork.Condition) {
            self.latents = latents
            self.condition = condition
        }
    }

    /// A transformer that is trained.
    package struct Expert: Sendable {
        package let role: String
        /// The noise levels it is for.
        package let range: ClosedRange<Double>
        /// What a LoRA changes, and the weights below it; nil if all weights are trained.
        package let lora: (layers: LoRALayers, base: any WeightSource)?

        /// Creates a transformer.
        package init(
            role: String,
            range: ClosedRange<Double> = 0...1,
            lora: (layers: LoRALayers, base: any WeightSource)? = nil
        ) {
            self.role = role
            self.range = range
            self.lora = lora
        }
    }

    /// How noise levels are drawn and losses weighted.
    package struct Options: Sendable {
        package var sampling = TimestepSampling()
        package var weighting = LossWeighting.none
        /// The share of samples whose first frame stays clean, for models that take one.
        package var cleanFirstFrame = 0.5
        package var precision = Precision.float32
        package var isRecomputed = false
        package var seed: UInt64 = 0
        package var device = Device.cpu

        /// Creates the default options.
        package init() {}
    }

    /// Makes videos that show how training goes, after a step.
    package typealias Draw = @Sendable (Networks, Int) throws -> [SampleSheet]

    let experts: [Expert]
    let config: WanConfig
    let task: TuningTask
    let options: Options
    private let optimizer: OptimizerOptions
    private let makeBatch: @Sendable (BatchPlace) throws -> Batch
    private let heldOut: HeldOut<Batch>?
    private let draw: Draw?
    /// The weights of losses by timestep.
    private let weights: FlowMatch

    /// Creates the method.
    ///
    /// - Parameters:
    ///   - experts: The transformers that are trained.
    ///   - heldOut: Rows to measure the loss on; nil for none.
    ///   - draw: Makes videos that show how training goes; nil for none.
    ///   - batch: Makes the micro-batch at a place.
    package init(
        _ experts: [Expert],
        _ config: WanConfig,
        _ task: TuningTask,
        _ options: Options,
        optimizer: OptimizerOptions,
        heldOut: HeldOut<Batch>? = nil,
        draw: Draw? = nil,
        batch: @escaping @Sendable (BatchPlace) throws -> Batch
    ) throws(SwanError) {
        self.experts = experts
        self.config = config
        self.task = task
        self.options = options
        self.optimizer = optimizer
        self.heldOut = heldOut
        self.draw = draw
        makeBatch = batch
        weights = try FlowMatch(.streaming(shift: options.sampling.shift))
    }

    package var roles: [Role] { experts.map { .trained($0.role, by: optimizer) } }

    package var sharesWeights: Bool { experts.allSatisfy { $0.lora == nil } }

    package func batch(_ place: BatchPlace) throws -> Batch { try makeBatch(place) }

    package func updates(at step: Int) -> [Update<Batch>] {
        let expert = expert(at: step)
        return [
            Update(of: expert.role) { batch, place, networks, _ in
                try loss(batch, place, networks, expert)
            }
        ]
    }

    package func samples(_ networks: Networks, after step: Int) throws -> [SampleSheet] {
        try draw?(networks, step) ?? []
    }

    package func measures(_ networks: Networks) throws -> [String: Double] {
        try heldOut?.means { batch, place in
            var losses: [String: Tensor] = [:]
            for expert in experts {
                let name = experts.count > 1 ? "\(expert.role)_loss" : "loss"
                losses[name] = try heldOutLoss(batch, place, networks, expert)
            }
            return losses
        } ?? [:]
    }

    /// The transformer that a step trains, the same on all ranks.
    package func expert(at step: Int) -> Expert {
        guard experts.count > 1 else { return experts[0] }
        var random = random(.expert, UInt64(step))
        var sampling = options.sampling
        let ends = experts.flatMap { [$0.range.lowerBound, $0.range.upperBound] }
        sampling.range = (ends.min() ?? 0)...(ends.max() ?? 1)
        let sigma = sampling.sigma(&random)
        // The boundary belongs to the expert for high noise, which comes first.
        return experts.first { $0.range.contains(sigma) } ?? experts[0]
    }

    func random(_ purpose: TuningPurpose, _ index: UInt64) -> SampleRandom {
        SampleRandom(seed: options.seed, index: index, purpose: purpose.rawValue)
    }

    // MARK: - Losses

    /// The noise levels of a batch's frames, and the frames that stay clean.
    struct Levels {
        /// [B][F], 0 for clean frames.
        let sigmas: [[Double]]

        /// 1000 sigma, [B, F].
        func timesteps() throws(SwanError) -> Tensor {
            try Tensor(sigmas.flatMap { $0.map { Float(1_000 * $0) } }, shape)
        }

        var shape: [Int] { [sigmas.count, sigmas[0].count] }
    }

    /// The loss of a micro-batch.
    package func loss(
        _ batch: Batch,
        _ place: BatchPlace,
        _ networks: Networks,
        _ expert: Expert
    ) throws -> Loss {
        var random = random(.timesteps, UInt64(place.number))
        let levels = levels(batch.latents, expert, &random)
        let noise = try Tensor.randn(
            batch.latents.shape,
            Generator(
                seed: Seed.mixed(
                    options.seed,
                    TuningPurpose.noise.rawValue,
                    UInt64(place.number)
                )
            )
        )
        let total = try loss(batch, levels, noise, network(networks, expert))
        let name = experts.count > 1 ? "\(expert.role)_loss" : "loss"
        return Loss(total: total, parts: [name: total])
    }

    /// The mean loss at four fixed noise levels.
    private func heldOutLoss(
        _ batch: Batch,
        _ place: BatchPlace,
        _ networks: Networks,
        _ expert: Expert
    ) throws -> Tensor {
        let network = try network(networks, expert)
        let generator = try Generator(
            seed: Seed.mixed(
                options.seed,
                TuningPurpose.heldOut.rawValue,
                UInt64(place.number)
            )
        )
        var sampling = options.sampling
        sampling.range = expert.range
        let (rows, frames) = (batch.latents.size(0), batch.latents.size(2))
        var losses: [Tensor] = []
        for sigma in sampling.spread(4) {
            let noise = try Tensor.randn(batch.latents.shape, generator)
            var row = Array(repeating: sigma, count: frames)
            if task == .textOrImageToVideo, options.cleanFirstFrame == 1, frames > 1 { row[0] = 0 }
            let levels = Levels(sigmas: Array(repeating: row, count: rows))
            losses.append(try loss(batch, levels, noise, network))
        }
        return try stacked(losses).mean()
    }

    /// Draws noise levels: one for each row, or for each block of a causal model.
    func levels(
        _ latents: Tensor,
        _ expert: Expert,
        _ random: inout SampleRandom
    ) -> Levels {
        var sampling = options.sampling
        sampling.range = expert.range
        let frames = latents.size(2)
        var rows: [[Double]] = []
        for _ in 0..<latents.size(0) {
            var row: [Double]
            switch task {
            case .causal(let block, _, _):
                row = stride(from: 0, to: frames, by: block).flatMap { start in
                    Array(
                        repeating: sampling.sigma(&random),
                        count: min(block, frames - start)
                    )
                }
            case .textOrImageToVideo:
                row = Array(repeating: sampling.sigma(&random), count: frames)
                if random.chance(options.cleanFirstFrame), frames > 1 { row[0] = 0 }
            case .textToVideo, .imageToVideo:
                row = Array(repeating: sampling.sigma(&random), count: frames)
            }
            rows.append(row)
        }
        return Levels(sigmas: rows)
    }

    /// The mean squared error of the flow over all frames that are not clean.
    func loss(
        _ batch: Batch,
        _ levels: Levels,
        _ noise: Tensor,
        _ network: TunedNetwork
    ) throws(SwanError) -> Tensor {
        let device = options.device
        let (x0, noise) = (try batch.latents.to(device, .float32), try noise.to(device))
        let timesteps = try levels.timesteps()
        let sigma = try (timesteps / 1_000).to(device)
            .reshaped(levels.shape[0], 1, levels.shape[1], 1, 1)
        let noisy = try x0 * (1 - sigma) + noise * sigma
        let flow = try network(noisy, timesteps: steps(timesteps), batch.condition)
        let squares = try (flow - (noise - x0)).pow(2).mean([1, 3, 4])  // [B, F]
        let counts = levels.sigmas.flatMap { $0.map { Float($0 == 0 ? 0 : 1) } }
        let factors = levels.sigmas.flatMap { $0.map { Float($0 == 0 ? 0 : weight($0)) } }
        let weights = try Tensor(factors, levels.shape).to(device)
        return try (squares * weights).sum() / Double(max(1, counts.reduce(0, +)))
    }

    /// A timestep for each row if all its frames have the same, which takes less computation.
    private func steps(_ timesteps: Tensor) throws(SwanError) -> Tensor {
        switch task {
        case .textToVideo, .imageToVideo: try timesteps.narrowed(1, 0, 1)
        case .textOrImageToVideo, .causal: timesteps
        }
    }

    private func weight(_ sigma: Double) -> Double {
        switch options.weighting {
        case .none: 1
        case .bell: weights.trainingWeight(at: 1_000 * sigma)
        }
    }

    /// The network of a transformer with these weights.
    func network(_ networks: Networks, _ expert: Expert) throws(SwanError) -> TunedNetwork {
        let weights: Weights
        if let (layers, base) = expert.lora {
            weights = Weights(
                try layers.applied(networks[expert.role], to: base),
                dtype: options.precision.dtype,
                device: options.device,
                keepsStorage: true
            )
        } else {
            weights = networks.weights(expert.role, options.precision)
        }
        return try TunedNetwork(weights, config, task, isRecomputed: options.isRecomputed)
    }
}
