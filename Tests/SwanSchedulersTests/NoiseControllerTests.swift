import GoldenSupport
import SwanSchedulers
import SwanSystem
import Testing
import Torch

/// Compares with StreamDiffusionV2's `compute_noise_scale_and_step` (Goldens/noise_controller).
struct NoiseControllerTests {
    struct Run: Decodable, Sendable {
        let name: String
        let chunk: Int
        let initial: Double
        let previous: Double

        enum CodingKeys: String, CodingKey {
            case name, chunk = "chunk_size", initial = "init_noise_scale", previous = "noise_scale"
        }
    }

    struct Config: Decodable { let runs: [Run] }

    let golden: Golden
    let video: Tensor

    init() throws {
        golden = try Golden("noise_controller")
        video = try golden.input("video").selected(0, 0)
    }

    @Test func followsMotionLikeTheReference() throws {
        let runs = try golden.config(Config.self).runs
        #expect(runs.count == 4)
        for run in runs {
            var controller = try NoiseController(
                initialScale: run.initial,
                previousScale: run.previous
            )
            let first = try controller.next(video.sliced(1, 0..<1))
            #expect(first == NoiseController.Noise(scale: run.previous, firstTimestep: nil))
            var scales: [Double] = []
            var steps: [Int] = []
            for start in stride(from: 1, to: video.size(1) - run.chunk + 1, by: run.chunk) {
                let noise = try controller.next(video.sliced(1, start..<(start + run.chunk)))
                scales.append(noise.scale)
                steps.append(try #require(noise.firstTimestep))
            }
            #expect(try steps == golden.output("\(run.name)/current_step").array())
            try expectClose(
                Tensor(scales, [scales.count]),
                golden.output("\(run.name)/noise_scale"),
                within: golden.tolerance,
                run.name
            )
        }
    }

    @Test func fixedNoiseIgnoresMotion() throws {
        var controller = try NoiseController(initialScale: 0.7, isFixed: true)
        for start in stride(from: 0, to: 48, by: 4) {
            let noise = try controller.next(video.sliced(1, start..<(start + 4)))
            #expect(noise == NoiseController.Noise(scale: 0.7, firstTimestep: nil))
        }
    }

    @Test func copiesAreIndependent() throws {
        var controller = try NoiseController(initialScale: 0.8)
        _ = try controller.next(video.sliced(1, 0..<5))
        var copy = controller
        let still = try video.sliced(1, 4..<5).expanded([-1, 4, -1, -1])
        let cut = try -video.sliced(1, 40..<44)
        let (calm, wild) = (try controller.next(still), try copy.next(cut))
        #expect(calm.scale > wild.scale)
        #expect(try controller.next(still).scale > (copy.next(cut).scale))
    }

    @Test func laterChangesToFramesHaveNoEffect() throws {
        var frames = try video.sliced(1, 0..<5).cloned()
        var controller = try NoiseController(initialScale: 0.8)
        _ = try controller.next(frames)
        let last = try frames.sliced(1, 4..<5).cloned()
        try frames.fill(with: 1)
        #expect(try controller.next(last).firstTimestep == 700)
    }

    @Test func smallScalesStayAboveZero() throws {
        var controller = try NoiseController(initialScale: 0.05)
        let frames = try Tensor(
            (0..<20).map { $0.isMultiple(of: 2) ? Float(-1) : 1 },
            [1, 20, 1, 1]
        )
        for start in stride(from: 0, to: 20, by: 4) {
            let noise = try controller.next(frames.sliced(1, start..<(start + 4)))
            #expect(noise.scale >= 0)
            #expect(noise.firstTimestep ?? 0 >= 0)
        }
        #expect(controller.scale < 0.001)
    }

    @Test func firstTimestepMayExceedTheNoise() throws {
        var controller = try NoiseController(initialScale: 0.1, timestepOffset: 100)
        let still = try video.sliced(1, 0..<1).expanded([-1, 5, -1, -1])
        #expect(try controller.next(still).firstTimestep == nil)
        #expect(try controller.next(still).firstTimestep == 200)
        let cut = try -video.sliced(1, 40..<44)
        let moving = try controller.next(cut)
        #expect(moving.firstTimestep == Int(1_000 * moving.scale) + 100)
        #expect(moving.scale < 0.1)
        // No timestep exceeds the last one of the schedule.
        var loud = try NoiseController(initialScale: 1, timestepOffset: 300)
        _ = try loud.next(still)
        #expect(try loud.next(still).firstTimestep == 1_000)
    }

    @Test(arguments: [-0.1, 1.5, .nan]) func wrongScales(_ scale: Double) {
        #expect(throws: SwanError.self) { try NoiseController(initialScale: scale) }
    }
}
