import Foundation
import GoldenSupport
import Testing
import Torch

@testable import SwanTiny
@testable import SwanTraining
import SwanSystem

/// A method with three networks: which of them change in a step, and what is saved.
@Suite("Methods", .serialized)
struct MethodTests {
    @Test func stepsChangeOnlyTheirRoles() throws {
        let method = try ToyMethod()
        let teacher = try method.teacher.array(of: Float.self)
        func state(after step: Int) throws -> TrainingState {
            try TrainingLoop("toy", steps: 12, method: method)
                .run(from: ToyMethod.start, stoppingAt: step) { _ in }
        }
        var before = try state(after: 0)
        for step in 0..<12 {
            let after = try state(after: step + 1)
            let isDue = step % ToyMethod.generatorInterval == 0
            #expect(try isDue != (before.values("generator") == after.values("generator")))
            #expect(try before.values("critic") != after.values("critic"))
            before = after
        }
        #expect(before.networks["generator"]?.updates == 3)
        #expect(before.networks["critic"]?.updates == 12)
        #expect(Set(before.networks.keys) == ["generator", "critic"])
        #expect(try method.teacher.array(of: Float.self) == teacher)
    }

    /// Adam's first step equals the learning rate, and its later steps are corrected by the role's
    /// own number of updates. The generator keeps no average, the critic a long one.
    @Test func eachRoleHasItsOwnOptimizerAndAverage() throws {
        func state(after step: Int) throws -> TrainingState {
            try TrainingLoop("toy", steps: 12, method: ToyMethod())
                .run(from: ToyMethod.start, stoppingAt: step) { _ in }
        }
        let (start, first, sixth) = try (state(after: 0), state(after: 1), state(after: 6))
        for (role, rate) in [("generator", Float(0.01)), ("critic", 0.1)] {
            for (a, b) in zip(try start.values(role), try first.values(role)) {
                #expect(abs(abs(a - b) - rate) < 0.01 * rate, "\(role)")
            }
        }
        // Corrected as a sixth update, the second would be up to a third smaller.
        for (a, b) in zip(try first.values("generator"), try sixth.values("generator")) {
            #expect(abs(abs(a - b) - 0.01) < 0.002)
        }
        func averages(_ role: String) throws -> [Float]? {
            try sixth.averages[role]["w"]?.array(of: Float.self)
        }
        #expect(try averages("generator") == sixth.values("generator"))
        #expect(try averages("critic") != sixth.values("critic"))
    }

    @Test(arguments: [1, 2])
    func resumeIsExact(microBatches: Int) throws {
        let pauses = Pauses(steps: 13, killed: [3, 6, 7, 11])
        try expectExactResume(
            { try ToyMethod(microBatches: microBatches) },
            ToyMethod.start(),
            pauses
        )
    }

    @Test func checkpointsContainTrainedRolesAndTheNamesOfFrozenOnes() throws {
        let folder = try TemporaryDirectory()
        let saving = CheckpointSaving(
            try Checkpoints(folder: folder.url, stage: "toy", kept: 1),
            CheckpointSchedule(everySteps: 6, everyMinutes: 60, kept: 1),
            metadata: ["name": "toy"]
        )
        _ = try TrainingLoop("toy", steps: 6, method: ToyMethod(), saving: saving)
            .run(from: ToyMethod.start) { _ in }
        let file = try SafetensorsFile(path: folder.path("toy/step-00000006.safetensors"))
        let groups = ["weights", "averages", "first_moments", "second_moments"]
        let expected = ["generator", "critic"].flatMap { role in groups.map { "\(role)/\($0)/w" } }
        #expect(Set(file.keys) == Set(expected + ["carry/0/drawn"]))
        #expect(file.metadata["updates.generator"] == "2")
        #expect(file.metadata["updates.critic"] == "6")
        #expect(file.metadata["frozen"] == "teacher")
        #expect(file.metadata["name"] == "toy")
    }

    @Test func refusesToUpdateAFrozenRole() throws {
        var method = try ToyMethod()
        method.critic = "teacher"
        let error = #expect(throws: SwanError.self) {
            try TrainingLoop("toy", steps: 3, method: method).run(from: ToyMethod.start) { _ in }
        }
        #expect(error?.message.contains("teacher") == true)
    }

    @Test func reportsProgressOfTheFirstRole() throws {
        var seen: [TrainingProgress] = []
        _ = try TrainingLoop("toy", steps: 3, method: ToyMethod())
            .run(from: ToyMethod.start) { seen.append($0) }
        let last = try #require(seen.last)
        #expect(last.step == 3 && last.learningRate == 0.01 && last.gradientNorm > 0)
        #expect(Set(last.losses.keys) == ["generator_loss", "critic_loss"])
    }
}

/// A critic that follows a generator pulls it toward a teacher. Each has four parameters.
private struct ToyMethod: Method {
    /// The number of steps between updates of the generator.
    static let generatorInterval = 5

    let teacher: Tensor
    var microBatches = 1
    /// The role that the critic's updates change.
    var critic = "critic"

    init(microBatches: Int = 1) throws {
        teacher = try Tensor([3, -2, 1, 4] as [Float], [4])
        self.microBatches = microBatches
    }

    static func start() throws -> [String: [String: Tensor]] {
        [
            "generator": ["w": try Tensor([0.1, 0.2, 0.3, 0.4] as [Float], [4])],
            "critic": ["w": try .zeros([4])],
        ]
    }

    private static func options(rate: Double, averageDecay: Double) -> OptimizerOptions {
        OptimizerOptions(
            learningRate: rate,
            warmUpSteps: 0,
            decayFrom: 1,
            finalRate: 1,
            betas: [0.9, 0.99],
            weightDecay: 0,
            maximumGradientNorm: 10,
            averageDecay: averageDecay
        )
    }

    var roles: [Role] {
        [
            .trained("generator", by: Self.options(rate: 0.01, averageDecay: 0)),
            .trained("critic", by: Self.options(rate: 0.1, averageDecay: 0.99)),
            .frozen("teacher"),
        ]
    }

    func updates(at step: Int) -> [Update<Tensor>] {
        let generator = Update(of: "generator", by: generatorLoss)
        let critic = Update(of: critic, by: criticLoss)
        return step % Self.generatorInterval == 0 ? [generator, critic] : [critic]
    }

    func batch(_ place: BatchPlace) throws -> Tensor {
        try Tensor.randn([4], Generator(seed: Seed.mixed(1, UInt64(place.number)))) * 0.1
    }

    private func generatorLoss(
        _ batch: Tensor,
        _ place: BatchPlace,
        _ networks: Networks,
        carry: inout [String: Tensor]
    ) throws -> Loss {
        let generator = try #require(networks["generator"]["w"])
        let critic = try #require(networks["critic"]["w"])
        #expect(generator.requiresGrad && !critic.requiresGrad)
        carry["before"] = try generator.detached().cloned()
        let loss = try ((generator + batch) * (critic - teacher)).sum()
        return Loss(total: loss, parts: ["generator_loss": loss])
    }

    private func criticLoss(
        _ batch: Tensor,
        _ place: BatchPlace,
        _ networks: Networks,
        carry: inout [String: Tensor]
    ) throws -> Loss {
        let generator = try #require(networks["generator"]["w"])
        let critic = try #require(networks["critic"]["w"])
        #expect(critic.requiresGrad && !generator.requiresGrad)
        // The critic sees the generator after the update before.
        if let before = carry.removeValue(forKey: "before") {
            #expect(try before.array(of: Float.self) != generator.array(of: Float.self))
        }
        let drawn = try Tensor.randn([4], Generator(seed: Seed.mixed(2, UInt64(place.number))))
        let last = carry["drawn"] ?? batch
        carry["drawn"] = drawn
        let target = try generator + batch + drawn * 0.1 + last * 0.1
        let loss = try (critic - target).pow(2).mean()
        return Loss(total: loss, parts: ["critic_loss": loss])
    }
}

extension TrainingState {
    /// The weight `w` of a role.
    fileprivate func values(_ role: String) throws -> [Float] {
        try #require(networks[role]?.weights["w"]).detached().array(of: Float.self)
    }
}
