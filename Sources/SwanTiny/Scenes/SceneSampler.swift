import SwanTraining

/// Draws scenes at random. Scene `index` depends only on the seed and the index.
package struct SceneSampler: Sendable {
    /// The number of frames of a clip.
    package let frames: Int
    private let seed: UInt64

    /// Creates a sampler of clips of at least 9 frames.
    package init(frames: Int, seed: UInt64) {
        self.frames = frames
        self.seed = seed
    }

    /// Which scenes to draw.
    package enum Share: Sendable {
        /// Scenes to train on.
        case training
        /// Scenes with at least one combination of words that training never shows.
        case heldOut
    }

    /// Returns scene `index`.
    package func scene(_ index: UInt64, _ share: Share = .training) -> DrawnScene {
        var random = SampleRandom(
            seed: seed,
            index: index,
            purpose: share == .training ? .scene : .heldOutScene
        )
        let kinds: [DrawnScene.Kind] = [.one, .two, .change]
        let kind = kinds[random.pick(weights: [0.45, 0.3, 0.25])]
        while true {
            let scene = scene(kind, &random)
            if scene.isHeldOut == (share == .heldOut) { return scene }
        }
    }

    private func scene(_ kind: DrawnScene.Kind, _ random: inout SampleRandom) -> DrawnScene {
        guard kind == .change else {
            return DrawnScene(shots: [shot(0..<frames, count: kind == .two ? 2 : 1, &random)])
        }
        let cut = DrawnScene.cut(frames: frames)
        let first = shot(0..<cut, count: 1, &random)
        var second = shot(cut..<frames, count: 1, &random)
        // Otherwise a change could not be seen.
        while second.movers[0].hue == first.movers[0].hue {
            second = shot(cut..<frames, count: 1, &random)
        }
        return DrawnScene(shots: [first, second])
    }

    private func shot(
        _ frames: Range<Int>,
        count: Int,
        _ random: inout SampleRandom
    ) -> DrawnScene.Shot {
        let hues = random.shuffled(Hue.allCases)
        var movers = hues.prefix(count).map { hue in
            let pace = random.pick(Pace.allCases)
            return DrawnScene.Mover(
                hue: hue,
                form: random.pick(Form.allCases),
                heading: random.pick(Heading.allCases),
                pace: pace,
                radius: count > 1 ? random.uniform(6.5, 8) : random.uniform(8, 10),
                speed: random.uniform(pace.speeds.lowerBound, pace.speeds.upperBound)
            )
        }
        let backdrop = random.pick(Backdrop.allCases)
        var tries = 0
        repeat {
            tries += 1
            // Two large things on crossing paths may not fit.
            if tries.isMultiple(of: 100) {
                for index in movers.indices { movers[index].radius *= 0.95 }
            }
            for index in movers.indices { place(&movers[index], frames.count, &random) }
        } while !areApart(movers, frames.count)
        return DrawnScene.Shot(backdrop: backdrop, movers: movers, frames: frames)
    }

    /// Chooses a start such that the whole path is inside the image.
    private func place(
        _ mover: inout DrawnScene.Mover,
        _ frames: Int,
        _ random: inout SampleRandom
    ) {
        let way = mover.speed * Double(frames - 1)
        let (low, high) = (mover.reach + 1, DrawnScene.side - mover.reach - 1)
        func start(_ direction: Double) -> Double {
            let first = direction < 0 ? low + way : low
            let last = direction > 0 ? high - way : high
            return random.uniform(min(first, last), last)
        }
        mover.start = (start(mover.heading.vector.x), start(mover.heading.vector.y))
    }

    private func areApart(_ movers: [DrawnScene.Mover], _ frames: Int) -> Bool {
        guard movers.count == 2 else { return true }
        return (0..<frames).allSatisfy { frame in
            let (a, b) = (movers[0].place(frame), movers[1].place(frame))
            let (x, y) = (a.x - b.x, a.y - b.y)
            let least = movers[0].reach + movers[1].reach + 2
            return x * x + y * y > least * least
        }
    }
}
