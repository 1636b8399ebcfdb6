import SwanSystem
import Testing
import Torch

@testable import SwanTiny

/// The measure is worth what it tells apart: right clips from wrong ones, also after the autoencoder.
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
        let scenes = scenes(120)
        var failed: [String] = []
        var error = 0.0
        for scene in scenes {
            let clip = try scene.clip(size: 64)
            let seen = try vae.reproduced(clip)
            error += try (seen - clip).pow(2).mean().item() / Double(scenes.count)
            let verdict = try SceneMeasure.verdict(seen, SceneClaim(scene))
            if !verdict.isMet {
                var text = "\(SceneClaim(scene).prompt): \(verdict)"
                for shot in scene.shots {
                    let part = try seen.sliced(0, shot.frames)
                    let covers = try HueCovers(part, shot.backdrop)
                    for mover in shot.movers {
                        let track = try Track(covers.cover(mover.hue))
                        let shape = ShapeMoments.median(track.frames.map(\.shape))
                        let d = try ShapeMoments.ideal.get().mapValues { shape!.distance($0) }
                        text += "\n  \(mover.form) \(track.frames.map(\.area).max() ?? 0) \(shape!) \(d)"
                    }
                }
                failed.append(text)
            }
        }
        // 25 dB.
        #expect(error < 0.0032, "mean squared error \(error)")
        #expect(failed.count <= 1, "\(failed.joined(separator: "\n"))")
    }
}
