import Foundation
import GoldenSupport
import ModelSupport
import SwanCheckpoints
import SwanModels
import SwanSystem
import SwanTraining
import Testing
import Torch
import TorchNN

@testable import SwanDistillation

/// What a student's steps compute, by hand.
struct StudentMethodTests {
    /// The teacher's flow of one row, by the expert for its timestep, with guidance by hand.
    private func flow(
        _ x: Tensor,
        _ timestep: Double,
        _ text: Tensor,
        _ negative: Tensor,
        guidance: Double,
        _ model: TeacherModel
    ) throws -> Tensor {
        let part: ModelFolder.Part =
            timestep >= model.boundary ? .transformer : .lowNoiseTransformer
        let network = try model.folder.require(part)
            .network(model.weights(of: part), .float32, .cpu) { weights throws(SwanError) in
                try WanTransformer(weights, model.config)
            }
        func predicted(_ text: Tensor) throws -> Tensor {
            try network(
                x.reshaped(1, 16, 1, 4, 4),
                timesteps: Tensor([Float(timestep)], [1]),
                text: network.text(text.unsqueezed(0))
            ).reshaped(16, 4, 4)
        }
        let (c, u) = (try predicted(text), try predicted(negative))
        return try u + (c - u) * guidance
    }

    /// A batch with a row for each expert.
    private func batch(
        _ method: StudentMethod,
        _ model: TeacherModel
    ) throws -> StudentMethod.Batch {
        var batch = try method.batch([0, 2], seed: 5)
        batch = StudentMethod.Batch(
            text: batch.text,
            lengths: batch.lengths,
            noisy: batch.noisy,
            timesteps: [model.boundary - 1, model.boundary]
        )
        return batch
    }

    @Test(arguments: [(RandomCheckpoint.Layout.original, 875.0), (.diffusers, 500)])
    func targetsAreGuidedFlowsOfTheRightExpert(
        layout: RandomCheckpoint.Layout,
        boundary: Double
    ) throws {
        let tiny = try TinyStudent(layout)
        let (method, model) = try tiny.method(tiny.file(["guidance_scale": "2.5"]))
        #expect(model.boundary == boundary && model.parts.count == 2)
        let batch = try batch(method, model)
        let target = try method.target(batch)
        let negative = try TensorCache(tiny.directory.path("method/text"), stamp: "texts").read("")
        for row in 0..<2 {
            let expected = try flow(
                batch.noisy.selected(0, row),
                batch.timesteps[row],
                batch.text.selected(0, row).narrowed(0, 0, batch.lengths[row]),
                negative,
                guidance: 2.5,
                model
            )
            try expectClose(target.selected(0, row), expected, relative: 1e-4, absolute: 1e-5)
        }
    }

    @Test func noisedPicturesLieBetweenPictureAndNoise() throws {
        let tiny = try TinyStudent()
        let (method, _) = try tiny.method(tiny.file(["timestep_shift": "3"]))
        let batch = try method.batch([4, 1], seed: 77)
        let random = try Generator(seed: 77)
        let clean = try #require(try method.data.pictures([4, 1]))
        let noise = try Tensor.randn(clean.shape, random)
        let numbers = try Tensor.randint(0..<1_000, [2], random).array(of: Int.self)
        for row in 0..<2 {
            let m = Double(numbers[row]) / 1_000
            let level = 3 * m / (1 + 2 * m)
            #expect(abs(batch.timesteps[row] - 1_000 * level) < 1e-9)
            try expectClose(
                batch.noisy.selected(0, row),
                clean.selected(0, row) * (1 - level) + noise.selected(0, row) * level
            )
        }
    }

    /// Adam's first step, from gradients of which those of the last layers are by hand.
    @Test(arguments: ["16", "5"]) func stepsByHand(channels: String) throws {
        let tiny = try TinyStudent()
        let file = try tiny.file(student: ["num_channels": channels])
        let (method, model) = try tiny.method(file)
        let first = try tiny.initialization(file.settings).weights(
            from: model.weights(of: .transformer),
            layers: model.config.layers
        )
        let loop = TrainingLoop("student", steps: 1, method: method)
        let state = try loop.run(from: { [StudentMethod.student: first] }, onProgress: { _ in })
        let trained = state.averages[StudentMethod.student]

        let batch = try method.batch(BatchPlace(step: 0))
        let target = try method.target(batch)
        let keys = first.keys.sorted()
        for tensor in first.values { try tensor.setRequiresGrad() }
        let student = try method.student(first)
        let x = try student.lowered(batch.noisy)
        let text = try LiteStudent2D.pooled(batch.text, lengths: batch.lengths)
        let times = try Tensor(batch.timesteps.map(Float.init), [2])
        let out = try student.network(x, timesteps: times, text: text)
        let flow = try student.output(out)
        let loss = try (flow - target).pow(2).mean()
        var found = try gradients(of: loss, for: keys.map { try #require(first[$0]) })
        for tensor in first.values { try tensor.setRequiresGrad(false) }
        // The gradient of the mean square by its last bias: 2 (flow - target) / count.
        let error = try ((flow - target) * (2 / Double(flow.count))).detached()
        let last = channels == "16" ? "student.conv_out.bias" : "output_proj.bias"
        let place = try #require(keys.firstIndex(of: last))
        let byHand = try error.sum([0, 2, 3])
        try expectClose(#require(found[place]), byHand, relative: 1e-4, absolute: 1e-7)
        found[place] = byHand
        if channels != "16" {
            let kernel = try #require(keys.firstIndex(of: "output_proj.weight"))
            let product = try matmul(
                error.permuted(1, 0, 2, 3).flattened(from: 1),
                out.detached().permuted(1, 0, 2, 3).flattened(from: 1).transposed(0, 1)
            )
            try expectClose(
                #require(found[kernel]).reshaped(16, 5),
                product,
                relative: 1e-4,
                absolute: 1e-7
            )
        }
        for (key, gradient) in zip(keys, found) {
            let gradient = try #require(gradient)
            let weight = try #require(first[key])
            // m / (1 - β1) = g, v / (1 - β2) = g²; no clipping.
            let step = try gradient / (gradient.abs() + 1e-8) + weight * 0.01
            try expectClose(
                #require(trained[key]),
                weight - step * 1e-3,
                relative: 1e-4,
                // Where a gradient is near 0, its rounding decides.
                absolute: 2e-4,
                key
            )
        }
    }

    @Test func theErrorFalls() throws {
        let tiny = try TinyStudent()
        let (method, model) = try tiny.method(tiny.file(["batch_size": "2", "lr": "3e-3"]))
        let settings = try tiny.file().settings
        let first = try tiny.initialization(settings).weights(
            from: model.weights(of: .transformer),
            layers: model.config.layers
        )
        let batch = try method.batch([0, 1, 2, 3, 4], seed: 9)
        let target = try method.target(batch)
        func error(_ weights: [String: Tensor]) throws -> Double {
            try withoutGradients {
                try method.loss(batch, target, method.student(weights)).total.item()
            }
        }
        let state = try TrainingLoop("student", steps: 60, method: method)
            .run(from: { [StudentMethod.student: first] }, onProgress: { _ in })
        let before = try error(first)
        let after = try error(state.averages[StudentMethod.student])
        #expect(after < 0.8 * before, "\(before) to \(after)")
    }

    // MARK: - As published

    @Test(arguments: [RandomCheckpoint.Layout.original, .diffusers])
    func publishedTeachersSeeZeros(layout: RandomCheckpoint.Layout) throws {
        let tiny = try TinyStudent(layout)
        let file = try tiny.file(["parity": "true"], student: ["num_channels": "4"])
        let (method, model) = try tiny.method(file)
        // The last batch of an epoch has one row; its noise has two.
        let batch = try method.batch([3], seed: 6)
        let random = try Generator(seed: 6)
        try expectClose(batch.noisy, .randn([2, 4, 4, 4], random), relative: 0, absolute: 0)
        let numbers = try Tensor.randint(0..<1_000, [2], random).array(of: Double.self)
        #expect(batch.timesteps == numbers && batch.text.size(0) == 2)
        // One expert at all timesteps: in diffusers' layout the one for high noise.
        let part: ModelFolder.Part = layout == .original ? .lowNoiseTransformer : .transformer
        #expect(model.publishedPart == part)
        let network = try model.folder.require(part)
            .network(model.weights(of: part), .float32, .cpu) { weights throws(SwanError) in
                try WanTransformer(weights, model.config)
            }
        let expected = try network(
            .zeros([2, 16, 1, 4, 4]),
            timesteps: Tensor(numbers.map(Float.init), [2]),
            text: network.text(batch.text)
        ).squeezed(2)
        try expectClose(method.target(batch), expected, relative: 1e-5, absolute: 1e-6)
        // Padding counts in a prompt's mean, and the student's own channels are not raised.
        let student = try method.student(
            tiny.initialization(file.settings)
                .weights(from: model.weights(of: part), layers: 2)
        )
        let wide = try method.batch([0, 1], seed: 6)
        let flow = try student.flow(
            wide.noisy,
            timesteps: Tensor(wide.timesteps.map(Float.init), [2]),
            text: wide.text.mean([1])
        )
        let target = try method.target(wide)
        let loss = try method.loss(wide, target, student).total.item()
        #expect(try abs(loss - (flow - target).pow(2).mean().item()) < 1e-6)
    }

    /// Each rank trains a convolution of its own: the gradient is not averaged over ranks.
    @Test func publishedConvolutionsAreThoseOfRanks() throws {
        let tiny = try TinyStudent()
        let file = try tiny.file(
            ["parity": "true", "gradient_accumulation_steps": "2"],
            student: ["num_channels": "4"]
        )
        let (single, model) = try tiny.method(file)
        var options = single.options
        (options.outputCount, options.ranks) = (2, 2)
        let method = StudentMethod(
            options: options,
            data: single.data,
            rows: single.rows,
            teacher: single.teacher
        )
        let first = try tiny.initialization(file.settings, outputs: 2)
            .weights(from: model.weights(of: .transformer), layers: 2)
        let keys = ["output_proj.weight", "output_proj_1.weight", "student.conv_in.bias"]
        for tensor in first.values { try tensor.setRequiresGrad() }
        let batch = try method.batch([0, 1], seed: 1)
        let target = try method.target(batch)
        let leaves = try keys.map { try #require(first[$0]) }
        // Micro-batch 2 of 4 is the second rank's first one.
        let of2 = try method.loss(batch, target, method.student(first, part: 2, of: 4)).total
        let found = try gradients(of: of2, for: leaves)
        #expect(found[0] == nil)
        var own = first
        own["output_proj.weight"] = first["output_proj_1.weight"]
        own["output_proj.bias"] = first["output_proj_1.bias"]
        let plain = try method.loss(batch, target, single.student(own)).total
        let expected = try gradients(of: plain, for: leaves)
        #expect(try of2.item() == plain.item())
        try expectClose(#require(found[1]), #require(expected[1]) * 2)
        try expectClose(#require(found[2]), #require(expected[2]))
    }
}
