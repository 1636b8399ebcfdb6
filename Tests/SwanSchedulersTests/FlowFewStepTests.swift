import GoldenSupport
import SwanSchedulers
import Testing
import Torch
import SwanSystem

/// Compares with StreamDiffusionV2's schedule, run without a stream (Goldens/few_step).
struct FlowFewStepTests {
    struct Run: Decodable {
        let steps: [Int]
        let shift: Double
        let warped: Bool
    }

    let golden: Golden
    let flow: BentFlow

    init() throws {
        golden = try Golden("few_step")
        flow = try BentFlow(golden)
    }

    func solver(_ run: Run, seed: UInt64 = 1) throws -> FlowFewStep {
        let schedule = try FlowMatch(.streaming(shift: run.shift))
        return try FlowFewStep(
            schedule,
            timesteps: schedule.denoisingSteps(run.steps + [0], warped: run.warped),
            generator: Generator(seed: seed)
        )
    }

    @Test func trajectories() throws {
        let runs: [String: Run] = try golden.config()
        #expect(runs.count == 3)
        for (name, run) in runs {
            let solver = try solver(run)
            #expect(try solver.steps.timesteps == golden.output("\(name)/timesteps").array())
            try expectClose(
                flow.trajectory(solver, noise: golden.input("noise")),
                golden.output("\(name)/samples"),
                within: golden.tolerance,
                name
            )
        }
    }

    @Test func noiseComesFromTheGenerator() throws {
        let run = Run(steps: [900, 600, 300], shift: 5, warped: false)
        let generator = try Generator(seed: 7)
        let noise = try stacked(
            (0..<3).map { _ in try Tensor.randn(flow.x.shape, generator) },
            dim: 0
        )
        try expectClose(
            flow.trajectory(solver(run, seed: 7)),
            flow.trajectory(solver(run), noise: noise),
            relative: 0,
            absolute: 0
        )
    }

    @Test func keepsTheDTypeOfTheSample() throws {
        var solver = try solver(Run(steps: [900, 300], shift: 5, warped: false))
        let half = try flow.x.to(.bfloat16)
        for _ in 0..<2 {
            #expect(try solver.step(flow: flow.b, sample: half).dtype == .bfloat16)
        }
        #expect(throws: SwanError.self) { try solver.step(flow: flow.b, sample: half) }
    }

    @Test(arguments: [[], [500, 700], [500, 500], [1_001], [-1], [.nan]])
    func wrongTimesteps(_ timesteps: [Double]) throws {
        let schedule = try FlowMatch(.streaming(shift: 5))
        let generator = try Generator(seed: 1)
        let error = #expect(throws: SwanError.self) {
            try FlowFewStep(schedule, timesteps: timesteps, generator: generator)
        }
        #expect(error?.message.contains("timesteps \(timesteps)") == true)
    }
}
