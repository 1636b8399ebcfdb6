import Foundation
import GoldenSupport
import ModelSupport
import SwanCheckpoints
import SwanModels
import SwanSystem
import Testing
import Torch

@testable import SwanDatasets
@testable import SwanPipelines

@Suite struct PairGenerationTests {
    private let folder: TemporaryDirectory
    private let model: GenerationModel

    init() throws {
        folder = try TemporaryDirectory()
        _ = try RandomCheckpoint(.textToVideo, .diffusers, at: folder.path("model"))
        var options = GenerationOptions()
        (options.device, options.dtype) = ("cpu", .float32)
        model = try GenerationModel(folder.path("model"), options: options)
    }

    private var options: TrajectoryOptions {
        var options = TrajectoryOptions()
        (options.steps, options.shift, options.guidance) = (6, 3, 2.5)
        (options.negativePrompt, options.frames) = ("blurry", 5)
        options.size = .init(width: 32, height: 48)
        // States 0, 2, 5 and 6 of 6 with the shift 3.
        options.timesteps = [1_000, 857, 375, 0]
        return options
    }

    private func recipe(_ trajectory: TeacherTrajectory, seed: UInt64 = 4) -> PairGeneration.Recipe
    {
        PairGeneration.Recipe(digest: "m", options, trajectory, dtype: "float32", seed: seed)
    }

    @Test func placesFollowTheStudentsSteps() throws {
        var options = TrajectoryOptions()
        #expect(try options.places == [0, 36, 44, 50])
        options.steps = 100
        options.timesteps = [1_000, 934, 862, 756, 603, 410, 250, 140, 74, 0]
        #expect(try options.places == [0, 36, 56, 72, 84, 92, 96, 98, 99, 100])
        options.timesteps = [1_000, 700, 0]
        let error = #expect(throws: SwanError.self) { try options.places }
        #expect(error?.message.contains("700; the nearest is 70") == true)
        for wrong in [[1_000], [757, 0], [0, 1_000], [1_000, 1_000, 0], []] {
            options.timesteps = wrong
            #expect(throws: SwanError.self, "\(wrong)") { try options.places }
        }
    }

    /// The recipe in terms of clean samples: guidance of x0, v = (x - x0) / sigma, x += v (next - sigma).
    @Test func statesAreThoseOfTheFormula() throws {
        let trajectory = try TeacherTrajectory(model, options)
        try trajectory.prepare(["a fox"])
        let states = try trajectory.states("a fox", seed: 9)
        #expect(states.shape == trajectory.shape && states.shape == [4, 2, 16, 6, 4])

        let encoder = try model.textEncoder()
        let texts = try model.embeddings(
            of: ["a fox", "blurry"],
            encoder,
            model.folder.tokenizer(for: encoder.config)
        )
        let network = try model.transformer(.transformer)
        var x = try Tensor.randn([1, 16, 2, 6, 4], Generator(seed: 9))
        var expected = [x]
        for step in 0..<6 {
            func sigma(_ step: Int) -> Double {
                let u = 1 - Double(step) / 6
                return 3 * u / (1 + 2 * u)
            }
            let clean = try texts.map { text in
                let conditioning = try network.text(text.embedding, nil)
                let time = try Tensor([Float(1_000 * sigma(step))], [1, 1])
                return try x - network.flow(x, time, conditioning, nil, nil) * sigma(step)
            }
            let guided = try clean[1] + (clean[0] - clean[1]) * 2.5
            x = try x + (x - guided) / sigma(step) * (sigma(step + 1) - sigma(step))
            expected.append(x)
        }
        for (index, place) in [0, 2, 5, 6].enumerated() {
            let state = try states.narrowed(0, index, 1).permuted(0, 2, 1, 3, 4)
            try expectClose(state, expected[place], absolute: 2e-5)
        }
    }

    /// A run that was interrupted writes what is missing, and the same files as one that was not.
    @Test func continues() throws {
        let prompts = (0..<5).map { "prompt \($0)" }
        func run(_ name: String, stopAfter limit: Int = .max, share: (Int, Int) = (0, 1)) throws {
            let trajectory = try TeacherTrajectory(model, options)
            let pairs = try PairGeneration(prompts, to: folder.path(name), recipe(trajectory))
            var steps = 0
            try pairs.run(
                trajectory,
                share: share,
                check: {
                    steps += 1
                    if steps > limit { throw CancellationError() }
                }
            ) { _ in }
        }
        try run("whole")
        #expect(throws: CancellationError.self) { try run("parts", stopAfter: 17) }
        #expect(!FileManager.default.fileExists(atPath: folder.path("parts/00002.pt")))
        try run("parts")
        for rank in 0..<2 { try run("shared", share: (rank, 2)) }
        for index in 0..<5 {
            let files = try ["whole", "parts", "shared"].map { name in
                let archive = try TorchArchive(path: folder.path("\(name)/0000\(index).pt"))
                let tensor = try #require(archive.tensors()["prompt \(index)"])
                return try tensor.load().array(of: Float.self)
            }
            #expect(files[0] == files[1] && files[0] == files[2])
        }
        #expect(try LatentPacking(folder.path("whole")).write(to: folder.path("db")).rows == 5)
        #expect(try LatentDatabase(folder.path("db")).shape == [4, 2, 16, 6, 4])
    }

    /// Files of other prompts or settings are not mixed.
    @Test func staleFilesAreFound() throws {
        let trajectory = try TeacherTrajectory(model, options)
        let target = folder.path("pairs")
        try PairGeneration(["a", "b"], to: target, recipe(trajectory))
            .run(trajectory, check: {}, progress: { _ in })
        let other = try PairGeneration(["a", "c"], to: target, recipe(trajectory))
        let error = #expect(throws: SwanError.self) {
            try other.run(trajectory, check: {}, progress: { _ in })
        }
        #expect(error?.message.contains("00001.pt: is not that of the prompt 'c'") == true)
        let refusal = #expect(throws: SwanError.self) {
            try PairGeneration(["a", "b"], to: target, recipe(trajectory, seed: 5))
        }
        #expect(refusal?.message.contains("has pairs of the seed 4") == true)
    }
}
