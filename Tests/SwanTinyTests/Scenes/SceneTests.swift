import Testing

@testable import SwanTiny

@Suite struct SceneTests {
    private let sampler = SceneSampler(frames: 21, seed: 5)

    @Test(arguments: [9, 13, 17, 21, 41])
    func scenesStayInside(frames: Int) throws {
        let sampler = SceneSampler(frames: frames, seed: 2)
        for index in 0..<60 {
            let scene = sampler.scene(UInt64(index), index < 40 ? .training : .heldOut)
            #expect(scene.shots.reduce(0) { $0 + $1.frames.count } == frames)
            #expect(scene.isHeldOut == (index >= 40))
            guard frames <= 21 else { continue }
            for shot in scene.shots {
                for mover in shot.movers {
                    for frame in shot.frames.indices {
                        let (x, y) = mover.place(frame - shot.frames.lowerBound)
                        #expect(x - mover.reach >= 0.99 && x + mover.reach <= 63.01)
                        #expect(y - mover.reach >= 0.99 && y + mover.reach <= 63.01)
                    }
                }
            }
        }
    }
}
