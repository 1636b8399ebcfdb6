import Foundation
import GoldenSupport
import SwanSystem
import Testing
import Torch

@testable import SwanTraining

/// A role with one weight whose gradient is 1, except at steps where it is infinite or NaN.
private struct SpoiledMethod: Method {
    let spoiled: [Int: Float]

    var roles: [Role] {
        let options = OptimizerOptions(
            learningRate: 0.1,
            warmUpSteps: 0,
            decayFrom: 1,
            finalRate: 1,
            betas: [0.9, 0.999],
            weightDecay: 0,
            maximumGradientNorm: 10,
            averageDecay: 0.5
        )
        return [.trained("a", by: options), .trained("b", by: options)]
    }

    func batch(_ place: BatchPlace) throws -> Float { spoiled[place.step] ?? 1 }

    func updates(at step: Int) -> [Update<Float>] {
        let good = Update<Float>(of: "b") { _, _, networks, _ in
            let total = try #require(networks["b"]["x"]).sum()
            return Loss(total: total, parts: ["b": total])
        }
        let spoiled = Update<Float>(of: "a") { factor, _, networks, carry in
            let before = try carry["left"]?.item()
            #expect(before.map { $0.isFinite } ?? true)
            let total = try #require(networks["a"]["x"]).sum() * Double(factor)
            carry["left"] = try total.detached()
            return Loss(total: total, parts: ["a": total])
        }
        return [spoiled, good]
    }
}

@Suite struct SkippedUpdateTests {
    private static let start = [
        "a": ["x": [Float(1)]], "b": ["x": [Float(1)]],
    ]

    private func run(
        _ method: SpoiledMethod,
        steps: Int,
        in folder: URL,
        stoppingAt stop: Int? = nil,
        onProgress: (TrainingProgress) -> Void = { _ in }
    ) throws -> TrainingState {
        let loop = TrainingLoop(
            "spoiled",
            steps: steps,
            method: method,
            saving: CheckpointSaving(
                try Checkpoints(folder: folder, stage: "spoiled", kept: 2),
                CheckpointSchedule(everySteps: 1, everyMinutes: 60, kept: 2),
                metadata: [:]
            ),
            record: StageRecord("spoiled", in: folder, SampleOptions(everySteps: 100, clips: 0))
        )
        return try loop.run(
            from: { try Self.start.mapValues { try $0.mapValues { try Tensor($0, [1]) } } },
            stoppingAt: stop,
            onProgress: onProgress
        )
    }

    private func weight(_ state: TrainingState, _ role: String) throws -> Float {
        try #require(state.networks[role]).parameters[0].detached().array(of: Float.self)[0]
    }

    /// The update is left out, as if its step had none; the other role and later steps go on.
    @Test func skipsAndCounts() throws {
        let folder = try TemporaryDirectory()
        var warnings: [String] = []
        let spoiled = SpoiledMethod(spoiled: [1: .infinity, 3: .nan, 4: -.infinity])
        let state = try run(spoiled, steps: 7, in: folder.url) { progress in
            if let warning = progress.warning { warnings.append(warning) }
            #expect(progress.gradientNorm.isFinite)
        }
        let other = try TemporaryDirectory()
        let clean = try run(SpoiledMethod(spoiled: [:]), steps: 4, in: other.url)
        #expect(try weight(state, "a") == weight(clean, "a"))
        #expect(state.networks["a"]?.updates == 4 && state.networks["b"]?.updates == 7)
        #expect(state.networks["a"]?.skipped.text == "3 0")
        #expect(state.networks["b"]?.skipped.text == nil)
        #expect(warnings.count == 1)
        #expect(warnings.first?.contains("step 2: the gradients of a are not finite") ?? false)
        let events = folder.url.appending(path: "events/spoiled")
        let names = try FileManager.default.contentsOfDirectory(atPath: events.path)
        let data = try Data(contentsOf: events.appending(path: #require(names.first)))
        #expect(data.range(of: Data("spoiled/a_skipped_updates".utf8)) != nil)
        #expect(data.range(of: Data("spoiled/b_skipped_updates".utf8)) == nil)
    }

    /// The count goes on where a run was killed.
    @Test func tenInARowEndTheRun() throws {
        let folder = try TemporaryDirectory()
        let nine = Dictionary(uniqueKeysWithValues: (2..<11).map { ($0, Float.nan) })
        let state = try run(SpoiledMethod(spoiled: nine), steps: 12, in: folder.url)
        #expect(state.networks["a"]?.skipped.text == "9 0")

        let other = try TemporaryDirectory()
        let ten = Dictionary(uniqueKeysWithValues: (2..<12).map { ($0, Float.nan) })
        let killed = try run(
            SpoiledMethod(spoiled: ten),
            steps: 20,
            in: other.url,
            stoppingAt: 7
        )
        #expect(killed.networks["a"]?.skipped.text == "5 5")
        let error = #expect(throws: SwanError.self) {
            try run(SpoiledMethod(spoiled: ten), steps: 20, in: other.url)
        }
        #expect(error?.code == .diverged)
        #expect(error?.message.contains("spoiled, a, step 11") ?? false, "\(error?.message ?? "")")
        #expect(error?.message.contains("10 updates in a row") ?? false)
    }

    @Test func readsWhatItWrote() {
        #expect(SkippedUpdates("12 3")?.text == "12 3")
        for text in ["", "1", "1 2", "-1 0", "x y", "3 -1"] { #expect(SkippedUpdates(text) == nil) }
    }
}
