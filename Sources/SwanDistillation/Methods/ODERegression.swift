import SwanSystem
package import SwanTraining
package import Torch
import TorchNN

/// Regression on the states that a teacher's ordinary differential equation passes through: from
/// each of them, the generator learns to predict where it ends.
///
/// CausVid, https://arxiv.org/abs/2412.07772, section 4.3. Frames at timestep 0 are context and do
/// not count.
package struct ODERegression: Method {
    /// The name of the trained role.
    package static let generator = DistributionMatching.generator

    /// Texts and the states of their videos.
    package struct Batch: Sendable {
        /// The embeddings of the prompts [B, L, textDim]; rows of zeros are padding.
        package let text: Tensor
        /// The states [B, T, C, F, H, W], noise first and clean latents last.
        package let states: Tensor

        /// Creates a batch.
        package init(text: Tensor, states: Tensor) {
            self.text = text
            self.states = states
        }
    }

    private let schedule: DistillationSchedule
    private let task: TaskType
    private let framesPerBlock: Int
    private let form: NetworkForm
    private let precision: Precision
    private let optimizer: OptimizerOptions
    private let draws: any DrawSource
    private let makeBatch: @Sendable (BatchPlace) throws -> Batch
    private let heldOut: HeldOut<Batch>?
    package let sharesWeights: Bool

    /// Creates the method.
    ///
    /// - Parameters:
    ///   - generator: The form of the network that is trained.
    ///   - heldOut: Data to measure the loss on; nil for none.
    ///   - batch: Makes the micro-batch at a place.
    package init(
        _ schedule: DistillationSchedule,
        task: TaskType,
        framesPerBlock: Int,
        generator form: NetworkForm,
        precision: Precision = .float32,
        sharesWeights: Bool = false,
        optimizer: OptimizerOptions,
        draws: any DrawSource,
        heldOut: HeldOut<Batch>? = nil,
        batch: @escaping @Sendable (BatchPlace) throws -> Batch
    ) {
        self.schedule = schedule
        self.task = task
        self.framesPerBlock = framesPerBlock
        self.form = form
        self.precision = precision
        self.sharesWeights = sharesWeights
        self.optimizer = optimizer
        self.draws = draws
        self.heldOut = heldOut
        makeBatch = batch
    }

    package var roles: [Role] {
        [.trained(Self.generator, by: optimizer), .frozen("text_encoder")]
    }

    package func batch(_ place: BatchPlace) throws -> Batch { try makeBatch(place) }

    package func updates(at step: Int) -> [Update<Batch>] {
        [
            Update(of: Self.generator) { batch, place, networks, _ in
                try loss(batch, place, networks)
            }
        ]
    }

    package func measures(_ networks: Networks) throws -> [String: Double] {
        try heldOut?.means { batch, place in
            ["generator_loss": try loss(batch, place, networks, drawing: .heldOut).total]
        } ?? [:]
    }

    /// The mean squared error of all frames that are not context; 0 if all are.
    package func loss(
        _ batch: Batch,
        _ place: BatchPlace,
        _ networks: Networks,
        drawing pass: DistillationPass = .regression
    ) throws -> Loss {
        let weights = networks.weights(Self.generator, precision)
        let generator = try CleanPredictor(weights, form, schedule.flow)
        let states = try batch.states.to(weights.device).unbound(1)
        guard let clean = states.last, states.count == schedule.steps.count else {
            throw SwanError(
                .invalidData,
                "the data has \(states.count) states of each video, but denoising_step_list has "
                    + "\(schedule.steps.count); make pairs for this list"
            )
        }
        let drawn = try PassDraws.integers(
            draws.generator(for: pass, place),
            LatentShape(of: clean),
            below: states.count
        )
        let entries = try task.equalized(drawn, framesPerBlock: framesPerBlock)
        let input = try GeneratorInput(choosing: entries, from: states, schedule)
        let p = try generator(
            input.latents,
            timesteps: input.timesteps,
            text: generator.text(batch.text)
        ).clean
        return try loss(p, clean, input.timesteps)
    }

    private func loss(
        _ p: Tensor,
        _ clean: Tensor,
        _ timesteps: [[Double]]
    ) throws(SwanError) -> Loss {
        let squares = try (p - clean).pow(2)  // [B, C, F, H, W]
        let counts = timesteps.map { $0.map { $0 == 0 ? Float(0) : 1 } }
        let mask = try Tensor(counts.flatMap { $0 }, [counts.count, 1, counts[0].count, 1, 1])
        let counted = counts.joined().reduce(0, +)
        let elements = Double(counted) * Double(p.count / (counts.count * counts[0].count))
        let total = try (squares * mask.to(p.device)).sum() / max(1, elements)
        var parts = ["generator_loss": total]
        let errors = try squares.detached().mean([1, 2, 3, 4])
        for (bin, rows) in Self.bins(timesteps) {
            let indices = try Tensor(rows, [rows.count]).to(p.device)
            parts["loss_at_time_\(bin)"] = try errors.indexSelected(0, indices).mean()
        }
        return Loss(total: total, parts: parts)
    }

    /// The rows of a batch by their mean timestep, in bins of 250.
    static func bins(_ timesteps: [[Double]]) -> [Int: [Int]] {
        Dictionary(grouping: timesteps.indices) { row in
            let mean = timesteps[row].reduce(0, +) / Double(timesteps[row].count)
            return Int(mean) / 250 * 250
        }
    }
}
