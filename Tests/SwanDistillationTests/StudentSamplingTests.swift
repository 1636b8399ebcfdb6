import Foundation
import GoldenSupport
import SwanCheckpoints
import SwanModels
import SwanSystem
import Testing
import Torch
import TorchNN

@testable import SwanDistillation

/// How a student makes pictures, and what memory it takes.
struct StudentSamplingTests {
    private static func student(
        channels: Int,
        isParity: Bool
    ) throws -> (student: ProjectedStudent, lift: Tensor?) {
        var config = LiteStudentConfig()
        (config.hiddenSize, config.depth, config.heads) = (8, 1, 2)
        (config.channels, config.textDim) = (channels, 6)
        let initialization = StudentInitialization(
            config: config,
            latentChannels: 5,
            projection: .none,
            isParity: isParity,
            seed: 2,
            outputCount: 1
        )
        let lift = try initialization.lift()
        let weights = try initialization.weights(from: DictionaryWeights([:]), layers: 1)
        let student = try ProjectedStudent(
            Weights(DictionaryWeights(weights)),
            config,
            latentChannels: 5,
            lift: lift
        )
        return (student, lift)
    }

    /// Euler's method with levels shifted by 4: 1, 8/9, 2/3, 0 at three steps.
    @Test(arguments: [5, 3]) func followsTheFlow(channels: Int) throws {
        let (student, lift) = try Self.student(channels: channels, isParity: false)
        var sampling = StudentSampling()
        (sampling.latentChannels, sampling.steps, sampling.shift) = (5, 3, 4)
        sampling.isParity = false
        let random = try Generator(seed: 3)
        let noise = try Tensor.randn([2, channels, 3, 4], random)
        let text = try Tensor.randn([2, 6], random)
        let found = try sampling.latents(from: noise, student, text: text)
        var x = noise
        for (level, next) in [(1.0, 8.0 / 9), (8.0 / 9, 2.0 / 3), (2.0 / 3, 0)] {
            let flow = try student.flow(x, timesteps: .full([2], 1_000 * level), text: text)
            var own = flow
            if let lift {
                own = try matmul(lift.transposed(0, 1), flow.flattened(from: 2))
                    .reshaped(2, channels, 3, 4)
            }
            x = try x + own * (next - level)
        }
        if let lift { x = try matmul(lift, x.flattened(from: 2)).reshaped(2, 5, 3, 4) }
        try expectClose(found, x, relative: 1e-5, absolute: 1e-5)
    }

    /// DDIM with the output as noise: t from 999 to 0, ᾱ = 1 - t / 1000 within 0.001 ... 0.999.
    @Test func samplesAsPublished() throws {
        let (student, _) = try Self.student(channels: 3, isParity: true)
        var sampling = StudentSampling()
        (sampling.latentChannels, sampling.steps) = (5, 4)
        let random = try Generator(seed: 4)
        let noise = try Tensor.randn([1, 3, 2, 2], random)
        let text = try Tensor.randn([1, 6], random)
        var x = noise
        let alphas = [0.001, 0.334, 0.667, 0.999, 1]
        for (step, t) in [999.0, 666, 333, 0].enumerated() {
            let e = try student.network(x, timesteps: .full([1], t), text: text)
            let (a, b) = (alphas[step], alphas[step + 1])
            x = try (x - e * (1 - a).squareRoot()) * (b / a).squareRoot() + e * (1 - b).squareRoot()
        }
        try expectClose(
            sampling.latents(from: noise, student, text: text),
            student.output(x),
            relative: 1e-4,
            absolute: 1e-4
        )
        let zeros = try sampling.latents(from: noise, student, text: text, publishedEnd: .zeros)
        #expect(try zeros.shape == [1, 5, 2, 2] && zeros.abs().max().item() == 0)
    }

    // MARK: - Memory

    private static func run(_ tiny: TinyStudent, ranks: Int = 1) throws -> StudentMemory.Run {
        let model = try TeacherModel(tiny.directory.path("teacher"))
        let counts = try model.parameterCounts()
        return StudentMemory.Run(
            settings: try tiny.file(student: ["num_channels": "4"]).settings,
            config: model.config,
            teacherParameters: counts.all,
            blockParameters: counts.block,
            height: 64,
            width: 64,
            ranks: ranks,
            threads: 1,
            isOnGPU: true,
            gpuCount: 0
        )
    }

    @Test func parametersAreCounted() throws {
        let tiny = try TinyStudent()
        let file = try tiny.file(student: ["num_channels": "4"])
        let model = try TeacherModel(tiny.directory.path("teacher"))
        let weights = try tiny.initialization(file.settings)
            .weights(from: model.weights(of: .transformer), layers: 2)
        let count = weights.values.reduce(0) { $0 + $1.count }
        let config = file.settings.student
        #expect(StudentMemory.parameters(of: config, latentChannels: 16) == count)
        // The published student.
        let published = StudentMemory.parameters(of: LiteStudentConfig(), latentChannels: 16)
        #expect(published / 1_000_000 == 214)
        let memory = try StudentMemory(Self.run(tiny))
        #expect(memory.weights == 8 * count && memory.moments == 8 * count)
        #expect(memory.gradients == 4 * count)
    }

    @Test func strategiesMoveTheTeacher() throws {
        let tiny = try TinyStudent()
        var run = try Self.run(tiny, ranks: 4)
        let own = StudentMemory(run)
        #expect(!own.isApart && own.teacher == 4 * run.teacherParameters)
        run.settings.strategy = .cpu
        let apart = StudentMemory(run)
        #expect(apart.isApart && apart.onDevice == own.onDevice - own.teacher - own.teacherWork)
        run.settings.strategy = .balanced
        let divided = StudentMemory(run)
        #expect(
            divided.teacher == run.teacherParameters / 4 * 4 + 8 * run.blockParameters
        )
        run.settings.strategy = .auto
        #expect(StudentMemory(run) == apart)
        run.settings.checkpointsGradients = true
        #expect(StudentMemory(run).activations < apart.activations)
        #expect(StudentMemory(run).summary(run).contains("teacher_device_strategy cpu"))
    }

    @Test func refusesWithWhatWouldFit() throws {
        let tiny = try TinyStudent()
        var run = try Self.run(tiny)
        run.settings.strategy = .cpu
        let needed = StudentMemory(run).apart
        try StudentMemory.require(run, free: needed, localRanks: 1)
        var error = #expect(throws: SwanError.self) {
            try StudentMemory.require(run, free: needed - 1, localRanks: 1)
        }
        #expect(error?.code == .outOfMemory)
        #expect(error?.message.contains("use batch_size: 1") ?? false, "\(error?.message ?? "")")
        error = #expect(throws: SwanError.self) {
            try StudentMemory.require(run, free: 10, localRanks: 2)
        }
        #expect(error?.message.contains("smaller hidden_size") ?? false)
    }
}
