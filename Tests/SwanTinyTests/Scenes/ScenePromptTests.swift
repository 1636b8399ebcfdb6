import Testing
import Torch

@testable import SwanTiny

@Suite struct ScenePromptTests {
    private let sampler = SceneSampler(frames: 21, seed: 4)
    private let prompts = ScenePrompts(seed: 4)

    /// Everything that a claim says is in the prompt's words, and nothing that it leaves open.
    @Test func promptsSayWhatClaimsSay() {
        for index in 0..<200 as Range<UInt64> {
            let (claim, text) = prompts.prompt(for: sampler.scene(index), index: index)
            let words = text.lowercased()
            func says(_ choices: [String]) -> Bool { choices.contains { words.contains($0) } }
            for shot in claim.shots {
                if let backdrop = shot.backdrop { #expect(says(backdrop.words), "\(text)") }
                for mover in shot.movers {
                    #expect(says(mover.hue.words) && says(mover.form.words), "\(text)")
                    #expect(says(mover.heading.words), "\(text)")
                    if let pace = mover.pace { #expect(says(pace.words), "\(text)") }
                }
            }
            let paces = claim.shots.flatMap { $0.movers.map(\.pace) }
            if !paces.contains(.slow) { #expect(!says(Pace.slow.words), "\(text)") }
            if !paces.contains(.fast) { #expect(!says(Pace.fast.words), "\(text)") }
        }
    }

    /// Whether a combination is held out does not follow from any two of its words.
    @Test func heldOutCombinationsConsistOfWordsThatTrainingShows() {
        func mover(_ hue: Hue, _ form: Form, _ heading: Heading) -> DrawnScene.Mover {
            DrawnScene.Mover(
                hue: hue,
                form: form,
                heading: heading,
                pace: .slow,
                radius: 8,
                speed: 0.5
            )
        }
        var heldOut = 0
        for hue in Hue.allCases {
            for form in Form.allCases {
                heldOut += Heading.allCases.count { mover(hue, form, $0).isHeldOut }
                #expect(Heading.allCases.contains { !mover(hue, form, $0).isHeldOut })
            }
            for heading in Heading.allCases {
                #expect(Form.allCases.contains { !mover(hue, $0, heading).isHeldOut })
            }
        }
        #expect((15...24).contains(heldOut))
        for form in Form.allCases {
            for heading in Heading.allCases {
                #expect(Hue.allCases.contains { !mover($0, form, heading).isHeldOut })
            }
        }
    }

    /// Different claims have different vectors, and each is read back exactly.
    @Test func vectorsSayWhatClaimsSay() throws {
        let vectors = try SceneVectors(dim: 48, seed: 3)
        let claims: [SceneClaim?] =
            [nil]
            + (0..<100 as Range<UInt64>).map {
                prompts.prompt(for: sampler.scene($0), index: $0).claim
            }
        let table = try vectors(claims)
        #expect(try vectors.understood(table, claims).allSatisfy { $0 })
        let moved = Array(claims.dropFirst()) + claims.prefix(1)
        let right = try zip(vectors.understood(table, moved), zip(claims, moved)).allSatisfy {
            $0 == ($1.0 == $1.1)
        }
        #expect(right)
        #expect(throws: (any Error).self) { try SceneVectors(dim: SceneVectors.count - 1, seed: 3) }
    }
}
