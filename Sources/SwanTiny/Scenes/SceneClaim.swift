import SwanTraining

/// What a prompt says of a scene: what can be checked, and nothing that the prompt leaves open.
package struct SceneClaim: Sendable, Equatable {
    /// What it says of a moving thing.
    package struct Mover: Sendable, Equatable {
        package var hue: Hue
        package var form: Form
        package var heading: Heading
        /// Nil if the prompt does not say how fast.
        package var pace: Pace?
    }

    /// What it says of a shot.
    package struct Shot: Sendable, Equatable {
        package var movers: [Mover]
        /// Nil if the prompt does not say what is behind them.
        package var backdrop: Backdrop?
    }

    /// One shot, or two if the scene changes.
    package var shots: [Shot]

    /// Says everything about a scene.
    package init(_ scene: DrawnScene) {
        shots = scene.shots.map { shot in
            let movers = shot.movers.map { mover in
                Mover(hue: mover.hue, form: mover.form, heading: mover.heading, pace: mover.pace)
            }
            return Shot(movers: movers, backdrop: shot.backdrop)
        }
    }

    /// Says of each pace and each backdrop only with a probability of 0.7.
    init(_ scene: DrawnScene, leavingOut random: inout SampleRandom) {
        self.init(scene)
        for shot in shots.indices {
            if random.chance(0.3) { shots[shot].backdrop = nil }
            for mover in shots[shot].movers.indices where random.chance(0.3) {
                shots[shot].movers[mover].pace = nil
            }
        }
    }

    /// How the scene is composed.
    package var kind: DrawnScene.Kind {
        shots.count > 1 ? .change : (shots.first?.movers.count ?? 1) > 1 ? .two : .one
    }

    /// The claim in plain words: "a red ball moves left slowly on a black background".
    package var prompt: String {
        let texts = shots.map { shot in
            let movers = shot.movers.map { mover in
                let pace = mover.pace.map { " " + $0.words[0] } ?? ""
                return "a \(mover.hue) \(mover.form) moves \(mover.heading)\(pace)"
            }
            let place = shot.backdrop.map { " on a \($0) background" } ?? ""
            return movers.joined(separator: " and ") + place
        }
        return texts.joined(separator: ", then ")
    }
}
