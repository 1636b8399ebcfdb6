package import SwanSystem
package import Torch

extension DrawnScene {
    /// The scene with other hues, forms and backdrops; everything moves as it did.
    package func dressedAnew(_ index: Int) -> DrawnScene {
        func other<Word: CaseIterable & Equatable>(_ word: Word, _ step: Int) -> Word
        where Word.AllCases == [Word] {
            let all = Word.allCases
            let place = all.firstIndex(of: word) ?? 0
            return all[(place + 1 + step % (all.count - 1)) % all.count]
        }
        var scene = self
        for shot in scene.shots.indices {
            scene.shots[shot].backdrop = other(scene.shots[shot].backdrop, index)
            for mover in scene.shots[shot].movers.indices {
                let old = scene.shots[shot].movers[mover]
                scene.shots[shot].movers[mover].hue = other(old.hue, index)
                scene.shots[shot].movers[mover].form = other(old.form, index)
            }
        }
        return scene
    }
}

extension SceneMeasure {
    /// How much of the things in two clips [T, 3, H, W] in [0, 1] is in the same places:
    /// intersection over union of the pixels that differ from their clip's backdrop, averaged over
    /// the frames.
    package static func agreement(_ a: Tensor, _ b: Tensor) throws(SwanError) -> Double {
        var sum = 0.0
        let frames = min(a.size(0), b.size(0))
        for frame in 0..<frames {
            // Each frame by itself: a scene may change.
            let things = try [a, b].map { clip throws(SwanError) in
                let picture = try clip.narrowed(0, frame, 1)
                let color = try backdrop(of: picture).0.color
                let back = try Tensor(color.map(Float.init), [1, 3, 1, 1])
                return try ((picture - back).pow(2).sum([1]).squareRoot() .> 0.15).to(.float32)
            }
            let both: Double = try (things[0] * things[1]).sum().item()
            let any: Double = try maximum(things[0], things[1]).sum().item()
            sum += any > 0 ? both / any : 1
        }
        return sum / Double(frames)
    }
}
