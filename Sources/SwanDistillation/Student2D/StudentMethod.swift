import SwanCheckpoints
import SwanModels
import SwanSystem
import SwanTraining
import Torch
import TorchNN

/// Trains a student to predict its teacher's flow: the mean squared error at noised pictures.
///
/// x_t = (1 - t/1000) x0 + t/1000 ε, with t/1000 from 0, 0.001 ... 0.999, shifted.
/// Source: WanDistiller (github.com/kat3ri/WanDistiller); as published, x_t is ε at every t.
struct StudentMethod: Method {
    /// The trained role: the student, and the convolution after it.
    static let student = "student"

    /// Rows of a micro-batch.
    struct Batch: Sendable {
        /// Embeddings [B, L, D] with zeros after each prompt, and the numbers of tokens.
        let text: Tensor
        let lengths: [Int]
        /// What the teacher sees, [B, Z, H, W]; as published, what the student sees, [B, C, H, W].
        let noisy: Tensor
        let timesteps: [Double]
    }

    /// The sizes and rules of a run.
    struct Options: Sendable {
        let config: LiteStudentConfig
        let latentChannels: Int
        /// The height and width of latents.
        let height, width: Int
        let lift: Tensor?
        let optimizer: OptimizerOptions
        let batch: Int
        let shift: Double
        let isRecomputed, isParity: Bool
        let seed: UInt64
        /// The convolutions after the student, of which each rank trains its own; 1 for a common
        /// one.
        var outputCount = 1
        /// The number of processes.
        var ranks = 1
    }

    let options: Options
    let data: StudentData
    let rows: StudentRows
    let teacher: SharedTeacher
    /// What is drawn and measured on the first rank.
    var view: StudentView?

    var roles: [Role] {
        [
            .trained(Self.student, by: options.optimizer), .frozen("teacher"),
            .frozen("text_encoder"),
        ]
    }

    func updates(at step: Int) -> [Update<Batch>] { [Update(of: Self.student, by: loss)] }

    func batch(_ place: BatchPlace) throws -> Batch {
        try batch(rows.rows(place.number), seed: Seed.mixed(options.seed, 33, UInt64(place.number)))
    }

    /// Rows with draws of a seed.
    func batch(_ rows: [Int], seed: UInt64) throws -> Batch {
        let generator = try Generator(seed: seed)
        var (text, lengths) = try data.text(rows)
        guard !options.isParity else {
            // As many rows as a whole batch has: a short batch's text is repeated.
            if rows.count < options.batch {
                let places = (0..<options.batch).map { $0 % rows.count }
                text = try text.indexSelected(0, Tensor(places, [places.count]))
                lengths = places.map { lengths[$0] }
            }
            let shape = [options.batch, options.config.channels, options.height, options.width]
            let noise = try Tensor.randn(shape, generator)
            let timesteps = try Self.timesteps(options.batch, generator, shift: 1)
            return Batch(text: text, lengths: lengths, noisy: noise, timesteps: timesteps)
        }
        guard let clean = try data.pictures(rows) else {
            throw SwanError(.invalidData, "data_path: there are no pictures to noise")
        }
        let noise = try Tensor.randn(clean.shape, generator)
        let timesteps = try Self.timesteps(rows.count, generator, shift: options.shift)
        let level = try Tensor(timesteps.map { Float($0 / 1_000) }, [rows.count, 1, 1, 1])
        let noisy = try (1 - level) * clean + level * noise
        return Batch(text: text, lengths: lengths, noisy: noisy, timesteps: timesteps)
    }

    /// n ~ U{0 ... 999}, shifted: 1000 s m / (1 + (s - 1) m) with m = n / 1000.
    private static func timesteps(
        _ count: Int,
        _ generator: Generator,
        shift: Double
    ) throws(SwanError) -> [Double] {
        try Tensor.randint(0..<1_000, [count], generator).array(of: Int.self).map { number in
            let part = Double(number) / 1_000
            return 1_000 * shift * part / (1 + (shift - 1) * part)
        }
    }

    /// The teacher's flow [B, Z, H, W]; all ranks ask together.
    func target(_ batch: Batch) throws -> Tensor {
        var seen = batch.noisy
        if options.isParity, options.config.channels != options.latentChannels {
            // The projection to the teacher's channels is zero.
            var shape = seen.shape
            shape[1] = options.latentChannels
            seen = try Tensor.zeros(shape)
        }
        return try withoutGradients {
            try teacher.flow(seen, batch.timesteps, text: batch.text)
        }
    }

    func loss(
        _ batch: Batch,
        _ place: BatchPlace,
        _ networks: Networks,
        carry: inout [String: Tensor]
    ) throws -> Loss {
        let target = try target(batch)
        let network = try student(networks[Self.student], part: place.part, of: place.parts)
        return try loss(batch, target, network)
    }

    func loss(
        _ batch: Batch,
        _ target: Tensor,
        _ network: ProjectedStudent
    ) throws -> Loss {
        let device = network.device
        let noisy = try batch.noisy.to(device)
        let flow = try network.flow(
            options.isParity ? noisy : network.lowered(noisy),
            timesteps: Tensor(batch.timesteps.map(Float.init), [batch.timesteps.count]).to(device),
            text: LiteStudent2D.pooled(
                batch.text.to(device, .float32),
                lengths: options.isParity ? nil : batch.lengths
            ),
            recomputing: options.isRecomputed
        )
        let loss = try (flow - target.to(device)).pow(2).mean()
        return Loss(total: loss, parts: ["flow": loss])
    }

    /// The student of a role's weights.
    ///
    /// - Parameter part: The micro-batch, of `parts`.
    func student(
        _ weights: [String: Tensor],
        part: Int = 0,
        of parts: Int = 1
    ) throws(SwanError) -> ProjectedStudent {
        var weights = weights
        if options.outputCount > 1 { try choose(part * options.ranks / parts, &weights) }
        return try ProjectedStudent(
            Weights(leaves: weights),
            options.config,
            latentChannels: options.latentChannels,
            lift: options.lift
        )
    }

    /// Puts a rank's own convolution in place of the first one's, as published: there, it is not
    /// among the weights whose gradients ranks average.
    private func choose(_ rank: Int, _ weights: inout [String: Tensor]) throws(SwanError) {
        let path = ProjectedStudent.paths.output
        for kind in ["weight", "bias"] {
            let key = rank == 0 ? "\(path).\(kind)" : "\(path)_\(rank).\(kind)"
            guard let own = weights[key] else { continue }
            // Its value, with a gradient that the mean over ranks makes its own again.
            weights["\(path).\(kind)"] =
                try own + (own - own.detached()) * Double(options.ranks - 1)
        }
    }

    func samples(_ networks: Networks) throws -> [SampleSheet] {
        guard let view, let draw = view.draw else { return [] }
        return try withoutGradients { try draw(student(networks[Self.student])) }
    }

    func measures(_ networks: Networks) throws -> [String: Double] {
        guard let view, !view.heldOut.isEmpty else { return [:] }
        return try withoutGradients {
            let network = try student(networks[Self.student])
            var sum = 0.0
            for (batch, target) in view.heldOut {
                sum += try loss(batch, target, network).total.item()
            }
            return ["held_out_flow": sum / Double(view.heldOut.count)]
        }
    }
}

/// What a run shows of a student: pictures, and its error on rows that are not trained on.
struct StudentView: Sendable {
    /// Draws pictures; nil for none.
    var draw: (@Sendable (ProjectedStudent) throws -> [SampleSheet])?
    /// Rows with the same draws each time, and what the teacher says to them.
    var heldOut: [(batch: StudentMethod.Batch, target: Tensor)] = []
}
