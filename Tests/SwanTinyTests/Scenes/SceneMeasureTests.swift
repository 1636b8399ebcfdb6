import SwanSystem
import Testing
import Torch

@testable import SwanTiny

/// The measure is worth what it tells apart: right clips from wrong ones, also after the
/// autoencoder.
@Suite struct SceneMeasureTests {
    private let sampler = SceneSampler(frames: 21, seed: 11)

    private func scenes(_ count: Int) -> [DrawnScene] {
        (0..<count).map { sampler.scene(UInt64($0), $0.isMultiple(of: 2) ? .training : .heldOut) }
    }

    @Test func drawnClipsAreMet() throws {
        for scene in scenes(120) {
            let verdict = try SceneMeasure.verdict(scene.clip(size: 64), SceneClaim(scene))
            #expect(verdict.isMet, "\(SceneClaim(scene).prompt): \(verdict)")
        }
    }

    @Test func drawnClipsAreMetAfterTheAutoencoder() throws {
        let vae = try FrozenAutoencoder(of: "tiny")
        ComputeBudget(threads: 1).apply()
        let scenes = scenes(60)
        var failed: [String] = []
        var error = 0.0
        for scene in scenes {
            let clip = try scene.clip(size: 64)
            let seen = try vae.reproduced(clip)
            error += try (seen - clip).pow(2).mean().item() / Double(scenes.count)
            let verdict = try SceneMeasure.verdict(seen, SceneClaim(scene))
            if !verdict.isMet { failed.append("\(SceneClaim(scene).prompt): \(verdict)") }
        }
        // 25 dB.
        #expect(error < 0.0032, "mean squared error \(error)")
        #expect(failed.isEmpty, "\(failed.joined(separator: "\n"))")
    }

    @Test func clipsOfOtherScenesAreNotMet() throws {
        let scenes = scenes(60)
        for (scene, other) in zip(scenes, scenes.dropFirst()) {
            let verdict = try SceneMeasure.verdict(scene.clip(size: 64), SceneClaim(other))
            #expect(!verdict.isMet || SceneClaim(scene) == SceneClaim(other))
        }
    }

    /// Each word that differs is found, and none of the others is blamed.
    @Test func theWrongWordIsFound() throws {
        for scene in scenes(60) {
            let clip = try scene.clip(size: 64)
            let claim = SceneClaim(scene)
            func verdict(
                _ change: (inout SceneClaim) -> Void
            ) throws -> SceneMeasure.Verdict {
                var other = claim
                change(&other)
                return try SceneMeasure.verdict(clip, other)
            }
            func next<Word: CaseIterable & Equatable>(_ word: Word?) -> Word
            where Word.AllCases == [Word] {
                let all = Word.allCases
                return all[((word.flatMap(all.firstIndex) ?? 0) + 1) % all.count]
            }
            typealias Verdict = SceneMeasure.Verdict
            #expect(
                try verdict { $0.shots[0].backdrop = next($0.shots[0].backdrop) }
                    == Verdict(backdrop: false)
            )
            let form = try verdict {
                $0.shots[0].movers[0].form = next($0.shots[0].movers[0].form)
            }
            #expect(form == Verdict(form: false))
            let heading = try verdict {
                $0.shots[0].movers[0].heading = next($0.shots[0].movers[0].heading)
            }
            #expect(heading == Verdict(heading: false))
            let pace = try verdict {
                $0.shots[0].movers[0].pace = next($0.shots[0].movers[0].pace)
            }
            #expect(pace == Verdict(pace: false))
            let used = claim.shots.flatMap { $0.movers.map(\.hue) }
            let unused = try #require(Hue.allCases.first { !used.contains($0) })
            #expect(try !verdict { $0.shots[0].movers[0].hue = unused }.hue)
        }
    }

    @Test func whatShowsNothingIsNotMet() throws {
        let claim = SceneClaim(sampler.scene(3))
        let noise = try Tensor.rand([21, 3, 64, 64], Generator(seed: 1))
        #expect(try !SceneMeasure.verdict(noise, claim).isMet)
        for backdrop in Backdrop.allCases {
            let color = try Tensor(backdrop.color.map(Float.init), [1, 3, 1, 1])
            let empty = try SceneMeasure.verdict(
                color.expanded([21, 3, 64, 64]).contiguous(),
                claim
            )
            #expect(!empty.hue && !empty.form && !empty.heading)
        }
        let still = try sampler.scene(3).clip(size: 64).sliced(0, 0..<1)
            .expanded([21, 3, 64, 64]).contiguous()
        #expect(try !SceneMeasure.verdict(still, claim).heading)
    }

    /// Played backwards, everything moves the other way.
    @Test func reversedClipsGoTheOtherWay() throws {
        for scene in scenes(40) where scene.kind != .change {
            let verdict = try SceneMeasure.verdict(
                scene.clip(size: 64).flipped([0]).contiguous(),
                SceneClaim(scene)
            )
            #expect(verdict == SceneMeasure.Verdict(heading: false))
        }
    }

    @Test func scenesAreTheSameEveryTime() throws {
        let again = SceneSampler(frames: 21, seed: 11)
        for index in 0..<20 as Range<UInt64> {
            let (scene, other) = (sampler.scene(index), again.scene(index))
            #expect(scene == other)
            let difference = try (scene.clip(size: 64) - other.clip(size: 64)).abs().max().item()
            #expect(difference == 0)
        }
        #expect(sampler.scene(0) != SceneSampler(frames: 21, seed: 12).scene(0))
    }
}
