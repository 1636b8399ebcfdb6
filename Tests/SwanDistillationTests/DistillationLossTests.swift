import GoldenSupport
import SwanSchedulers
import SwanSystem
import SwanTraining
import Testing
import Torch
import TorchNN

@testable import SwanDistillation

/// Compares the regression on ODE pairs and the critic's four losses with CausVid's.
@Suite struct DistillationLossTests {
    @Test func odeRegression() throws {
        let reference = try ReferenceDistillation("distill_ode")
        let golden = reference.golden
        let states = try golden.input("pairs").permuted(0, 1, 3, 2, 4, 5)
        let batch = ODERegression.Batch(text: try golden.input("prompt"), states: states)
        let method = try method(reference) { _ in batch }
        let generator = try leaves(reference.weights("generator"))
        let loss = try method.loss(
            batch,
            BatchPlace(step: 0),
            Networks(["generator": generator])
        )
        try expectClose(loss.total.detached(), golden.output("loss"), relative: 1e-6, absolute: 0)
        try reference.expectGradients(of: loss.total, for: generator, like: "generator")
        // The mean error of each row, by its mean timestep.
        let rows: [Float] = try golden.output("unnormalized_loss").array()
        let times: [Float] = try golden.output("timestep").array()
        #expect(loss.parts.count == 1 + times.count)
        for (row, time) in zip(rows, times) {
            let found = try #require(loss.parts["loss_at_time_\(Int(time) / 250 * 250)"]).item()
            #expect(abs(found - Double(row)) < 1e-5 * Double(row))
        }
    }

    private func method(
        _ reference: ReferenceDistillation,
        batch: @escaping @Sendable (BatchPlace) throws -> ODERegression.Batch
    ) throws -> ODERegression {
        ODERegression(
            try reference.schedule,
            task: .causalVideo,
            framesPerBlock: 3,
            generator: NetworkForm(try reference.wan, causal: .init(framesPerBlock: 3)),
            optimizer: ReferenceDistillation.optimizer(1e-3),
            draws: GoldenDraws(seeds: [.regression: reference.seed + 1]),
            batch: batch
        )
    }

    /// The reference divides 0 by 0 if all frames are context.
    @Test func contextAloneCostsNothing() throws {
        let reference = try ReferenceDistillation("distill_ode")
        let clean = try reference.golden.input("pairs").permuted(0, 1, 3, 2, 4, 5)
            .narrowed(1, 3, 1)
        let schedule = try DistillationSchedule(
            list: [1000, 0],
            warped: false,
            shift: 8,
            scoreShift: 8
        )
        let batch = ODERegression.Batch(
            text: try reference.golden.input("prompt"),
            states: try concatenated([clean, clean], dim: 1)
        )
        let method = ODERegression(
            schedule,
            task: .bidirectionalVideo,
            framesPerBlock: 1,
            generator: NetworkForm(try reference.wan),
            optimizer: ReferenceDistillation.optimizer(1e-3),
            draws: SeededDraws(seed: 3)
        ) { _ in batch }
        let networks = Networks(["generator": try reference.weights("generator")])
        let losses = try (0..<12).map { step in
            try method.loss(batch, BatchPlace(step: step), networks).total.item()
        }
        #expect(losses.contains(0) && losses.allSatisfy { $0.isFinite && $0 >= 0 })
        #expect(losses.contains { $0 > 0 })
    }

    @Test(arguments: DenoisingLoss.allCases) func denoising(loss: DenoisingLoss) throws {
        let golden = try Golden("distill_denoising")
        let sample = try sample(golden)
        try expectClose(loss(sample), golden.output(loss.rawValue), relative: 1e-6, absolute: 0)
    }

    @Test func noiseAsPublished() throws {
        let golden = try Golden("distill_denoising")
        try expectClose(
            DenoisingLoss.publishedNoise(sample(golden)),
            golden.output("noise_published"),
            relative: 1e-6,
            absolute: 0
        )
    }

    private func sample(_ golden: Golden) throws -> DenoisingLoss.Sample {
        var sample = DenoisingLoss.Sample(
            clean: try golden.input("x"),
            noise: try golden.input("noise")
        )
        sample.predictedClean = try golden.input("x_pred")
        sample.predictedFlow = try golden.input("flow_pred")
        sample.predictedNoise = try golden.input("noise_pred")
        sample.alphas = try golden.input("alphas").indexSelected(0, golden.input("timestep"))
            .reshaped(-1, 1, 1, 1)
        return sample
    }

    @Test func taskTypes() throws {
        let rows = [[5, 6, 7, 8], [1, 2, 3, 4]]
        #expect(
            try TaskType.bidirectionalVideo.equalized(rows, framesPerBlock: 2)
                == [[5, 5, 5, 5], [1, 1, 1, 1]]
        )
        #expect(
            try TaskType.causalVideo.equalized(rows, framesPerBlock: 2)
                == [[5, 5, 7, 7], [1, 1, 3, 3]]
        )
        #expect(try TaskType.image.equalized([[4], [2]], framesPerBlock: 1) == [[4], [2]])
        #expect(throws: SwanError.self) { try TaskType.image.equalized(rows, framesPerBlock: 1) }
        let error = #expect(throws: SwanError.self) {
            try TaskType.causalVideo.equalized(rows, framesPerBlock: 3)
        }
        #expect(error?.message.contains("num_frame_per_block 3") ?? false)
    }

    /// Warped steps, the limits of scores, and the table's missing 0 (section 3.2 of CausVid's
    /// code).
    @Test func schedule() throws {
        let warped = try DistillationSchedule(
            list: [1000, 750, 500, 250, 0],
            warped: true,
            shift: 8,
            scoreShift: 8
        )
        let expected = [1000, 960, 888.8889, 727.2727, 0]
        for (step, value) in zip(warped.steps, expected) { #expect(abs(step - value) < 1e-3) }
        #expect(warped.scoreTimestep(0) == 20 && warped.scoreTimestep(999) == 980)
        #expect(abs(warped.scoreTimestep(500) - 888.8889) < 1e-3)
        #expect(abs(warped.flow.sigma(at: 0) - 0.0079444) < 1e-6)
        #expect(warped.place(of: 1000) == 1000 && warped.place(of: 888.9) == 500)
        #expect(warped.place(of: 0) == 0)
        let plain = try DistillationSchedule(
            list: [700, 500, 0],
            warped: false,
            shift: 8,
            scoreShift: 1
        )
        #expect(plain.steps == [700, 500, 0] && plain.scoreTimestep(499) == 499)
        for list in [[], [500, 700], [0], [1001, 0]] {
            #expect(throws: SwanError.self) {
                try DistillationSchedule(list: list, warped: false, shift: 8, scoreShift: 8)
            }
        }
    }
}
