import SwanSystem
import Testing
import Torch

@testable import SwanTiny

/// Scenes in other clothes, and prompts to learn from.
@Suite struct SceneStructureTests {
    private let scenes = SceneSampler(frames: 21, seed: 3)

    /// Everything that a prompt says of looks differs, and everything moves as before.
    @Test func dressedScenesMoveAsBefore() throws {
        for index in 0..<60 {
            let scene = scenes.scene(UInt64(index), .heldOut)
            let other = scene.dressedAnew(index)
            #expect(other.kind == scene.kind)
            for (a, b) in zip(scene.shots, other.shots) {
                #expect(a.backdrop != b.backdrop && a.frames == b.frames)
                for (x, y) in zip(a.movers, b.movers) {
                    #expect(x.hue != y.hue && x.form != y.form && x.heading == y.heading)
                    #expect(x.place(7) == y.place(7))
                }
                #expect(Set(b.movers.map(\.hue)).count == b.movers.count)
            }
        }
    }

    /// A clip agrees with itself, mostly with the same motion of other things, and hardly with
    /// another scene.
    @Test func agreementIsThatOfPlaces() throws {
        var (dressed, others) = (0.0, 0.0)
        for index in 0..<8 {
            let scene = scenes.scene(UInt64(index))
            let clip = try scene.clip(size: 64)
            #expect(try SceneMeasure.agreement(clip, clip) == 1)
            let same = try scene.dressedAnew(index).clip(size: 64)
            dressed += try SceneMeasure.agreement(clip, same) / 8
            let other = try scenes.scene(UInt64(index + 100)).clip(size: 64)
            others += try SceneMeasure.agreement(clip, other) / 8
        }
        #expect(dressed > 0.45 && others < 0.25, "\(dressed), \(others)")
    }

    @Test func trainingPromptsDiffer() throws {
        let prompts = try ScenePrompts.forTraining(500, seed: 1)
        #expect(prompts.count == 500 && Set(prompts).count == 500)
        #expect(try ScenePrompts.forTraining(20, seed: 1) == Array(prompts.prefix(20)))
        #expect(try ScenePrompts.forTraining(20, seed: 2) != Array(prompts.prefix(20)))
        #expect(throws: SwanError.self) { try ScenePrompts.forTraining(0, seed: 1) }
    }
}
