import GoldenSupport
import SwanSchedulers
import Testing
import Torch
import SwanSystem

/// Compares with StreamDiffusionV2's schedule (Goldens/flow_match).
struct FlowMatchTests {
    struct Config: Decodable {
        struct Table: Decodable {
            let steps: Int
            let shift: Double?
            let sigmaMin: Double?
            let extraOneStep: Bool?
            let inverseTimesteps: Bool?
            let reverseSigmas: Bool?
            let training: Bool

            enum CodingKeys: String, CodingKey {
                case steps, shift, training, sigmaMin = "sigma_min", extraOneStep = "extra_one_step"
                case inverseTimesteps = "inverse_timesteps", reverseSigmas = "reverse_sigmas"
            }

            var options: FlowMatch.Options {
                var options = FlowMatch.Options()
                options.steps = steps
                options.shift = shift ?? options.shift
                options.sigmaMin = sigmaMin ?? options.sigmaMin
                options.extraOneStep = extraOneStep ?? options.extraOneStep
                options.inverseTimesteps = inverseTimesteps ?? options.inverseTimesteps
                options.reverseSigmas = reverseSigmas ?? options.reverseSigmas
                return options
            }
        }

        let tables: [String: Table]
        let stepLists: [[Int]]

        enum CodingKeys: String, CodingKey { case tables, stepLists = "step_lists" }
    }

    let golden: Golden
    let config: Config
    let schedule: FlowMatch

    init() throws {
        golden = try Golden("flow_match")
        config = try golden.config()
        schedule = try FlowMatch(.streaming(shift: 8))
    }

    @Test func tables() throws {
        #expect(config.tables.count == 6)
        for (name, table) in config.tables {
            let schedule = try FlowMatch(table.options)
            try expectClose(
                Tensor(schedule.sigmas, [table.steps]),
                golden.output("\(name)/sigmas"),
                relative: 2e-7,
                absolute: 1e-7,
                "sigmas of \(name)"
            )
            try expectClose(
                Tensor(schedule.timesteps, [table.steps]),
                golden.output("\(name)/timesteps"),
                relative: 2e-7,
                absolute: 1e-4,
                "timesteps of \(name)"
            )
            guard table.training else { continue }
            try expectClose(
                Tensor(schedule.trainingWeights(), [table.steps]),
                golden.output("\(name)/training_weights"),
                relative: 1e-5,
                absolute: 1e-5
            )
        }
    }

    @Test(arguments: ["integer", "fractional"], Device.tested)
    func conversions(_ kind: String, device: Device) throws {
        let golden = try Golden("flow_match", on: device)
        let clean = try golden.input("clean")
        let noise = try golden.input("noise")
        let list: [Double] = try golden.input("timestep_\(kind)").array()
        let raised = list.map { max($0, 50) }
        let tolerance = try golden.tolerance
        try expectClose(
            schedule.addNoise(clean, noise, at: .rows(list)),
            golden.output("add_noise_\(kind)"),
            within: tolerance,
            "noised"
        )
        try expectClose(
            schedule.clean(fromFlow: noise, clean, at: .rows(list)),
            golden.output("flow_to_x0_\(kind)"),
            within: tolerance,
            "clean"
        )
        try expectClose(
            schedule.flow(
                fromClean: noise.sliced(0, 0..<9),
                clean.sliced(0, 0..<9),
                at: .rows(Array(raised.prefix(9)))
            ),
            golden.output("x0_to_flow_\(kind)"),
            within: tolerance,
            "flow"
        )
        try expectClose(
            schedule.step(clean, flow: noise, at: .rows(raised)),
            golden.output("step_\(kind)"),
            within: tolerance,
            "step"
        )
    }

    @Test func oneTimestepAppliesToAllRows() throws {
        let (clean, noise) = (try golden.input("clean"), try golden.input("noise"))
        let rows = FlowMatch.Timesteps.rows(Array(repeating: 523, count: 12))
        try expectClose(
            schedule.addNoise(clean, noise, at: .all(523)),
            schedule.addNoise(clean, noise, at: rows),
            relative: 0,
            absolute: 0
        )
        try expectClose(
            schedule.clean(fromFlow: noise, clean, at: .all(523)),
            schedule.clean(fromFlow: noise, clean, at: rows),
            relative: 0,
            absolute: 0
        )
        try expectClose(
            schedule.step(clean, flow: noise, at: .all(523)),
            schedule.step(clean, flow: noise, at: rows),
            relative: 0,
            absolute: 0
        )
    }

    @Test func framesHaveSeparateTimesteps() throws {
        let generator = try Generator(seed: 3)
        let clean = try Tensor.randn([2, 4, 3, 2, 2], generator)
        let noise = try Tensor.randn([2, 4, 3, 2, 2], generator)
        let timesteps: [[Double]] = [[900, 20, 500], [0, 1_000, 333]]
        let noised = try schedule.addNoise(clean, noise, at: .frames(timesteps))
        for row in 0..<2 {
            for frame in 0..<3 {
                func part(_ x: Tensor) throws -> Tensor {
                    try x.selected(0, row).selected(1, frame)
                }
                try expectClose(
                    part(noised),
                    schedule.addNoise(part(clean), part(noise), at: .all(timesteps[row][frame])),
                    relative: 0,
                    absolute: 0,
                    "row \(row), frame \(frame)"
                )
            }
        }
    }

    @Test func keepsDTypes() throws {
        let (clean, noise) = (try golden.input("clean"), try golden.input("noise").to(.bfloat16))
        let half = try clean.to(.bfloat16)
        #expect(try schedule.addNoise(clean, noise, at: .all(500)).dtype == .bfloat16)
        #expect(try schedule.clean(fromFlow: noise, clean, at: .all(500)).dtype == .bfloat16)
        #expect(try schedule.step(half, flow: noise, at: .all(500)).dtype == .bfloat16)
        // Computed in float32 or float64, and rounded once.
        try expectClose(
            schedule.addNoise(half, noise, at: .all(500)),
            schedule.addNoise(half.to(.float32), noise.to(.float32), at: .all(500)).to(.bfloat16),
            relative: 0,
            absolute: 0
        )
    }

    @Test func pastTheLastEntryIsTheCleanSample() throws {
        var options = FlowMatch.Options()
        (options.steps, options.shift) = (7, 5)
        let schedule = try FlowMatch(options)
        let (clean, noise) = (try golden.input("clean"), try golden.input("noise"))
        var x = noise
        let flow = try noise - clean
        for timestep in schedule.timesteps {
            x = try schedule.step(x, flow: flow, at: .all(Double(timestep)))
        }
        try expectClose(x, clean, relative: 1e-5, absolute: 1e-5)
    }

    @Test func supportsGradients() throws {
        let (clean, noise) = (try golden.input("clean"), try golden.input("noise"))
        let flow = try noise.cloned()
        try flow.setRequiresGrad()
        let x0 = try schedule.clean(fromFlow: flow, clean, at: .all(500))
        let gradient = try #require(try gradients(of: x0.sum(), for: [flow])[0])
        let expected = try Tensor.full(flow.shape, -schedule.sigma(at: 500))
        try expectClose(gradient, expected)
    }

    @Test func warpedSteps() throws {
        for (index, list) in config.stepLists.enumerated() {
            let warped = try schedule.warped(list)
            try expectClose(
                Tensor(warped, [list.count]),
                golden.output("warped_\(index)"),
                relative: 2e-7,
                absolute: 0,
                "\(list)"
            )
        }
    }

    @Test func stepLists() throws {
        let list = [700, 500, 400, 200, 0]
        #expect(try schedule.denoisingSteps(list) == [700, 500, 400, 200])
        #expect(try schedule.denoisingSteps(list, count: 2) == [700, 500])
        #expect(try schedule.denoisingSteps(list, count: 2, keepingZero: true) == [700, 500, 0])
        let all = try schedule.warped(list)
        #expect(try schedule.denoisingSteps(list, count: 3, warped: true) == Array(all.prefix(3)))
    }

    @Test(arguments: [[], [0], [700, 500], [500, 700, 0], [1_001, 0], [5, 0, 0], [5, -1, 0]])
    func wrongStepLists(_ list: [Int]) throws {
        let error = #expect(throws: SwanError.self) { try schedule.denoisingSteps(list) }
        #expect(error?.code == .invalidOption)
        #expect(error?.message.contains("denoising_step_list \(list)") == true)
    }

    @Test(arguments: [0, 5]) func wrongCounts(_ count: Int) throws {
        let error = #expect(throws: SwanError.self) {
            try schedule.denoisingSteps([700, 500, 400, 200, 0], count: count)
        }
        #expect(error?.message.contains("1 to 4") == true)
    }

    @Test func warpingNeedsAnEntryForEveryTimestep() throws {
        var options = FlowMatch.Options.streaming(shift: 8)
        options.steps = 50
        let schedule = try FlowMatch(options)
        #expect(throws: SwanError.self) {
            try schedule.denoisingSteps([700, 0], warped: true)
        }
    }

    @Test func wrongOptions() {
        func expectRefusal(
            _ part: String,
            sourceLocation: SourceLocation = #_sourceLocation,
            _ change: (inout FlowMatch.Options) -> Void
        ) {
            var options = FlowMatch.Options()
            change(&options)
            let error = #expect(throws: SwanError.self, sourceLocation: sourceLocation) {
                try FlowMatch(options)
            }
            #expect(error?.message.contains(part) == true, sourceLocation: sourceLocation)
        }
        expectRefusal("0 steps") { $0.steps = 0 }
        expectRefusal("-3 training timesteps") { $0.trainingTimesteps = -3 }
        expectRefusal("shift 0") { $0.shift = 0 }
        expectRefusal("shift nan") { $0.shift = .nan }
        expectRefusal("levels 1.0 to 0.5") { ($0.sigmaMin, $0.sigmaMax) = (1, 0.5) }
        expectRefusal("strength 1.5") { $0.denoisingStrength = 1.5 }
    }

    @Test func mismatchedTimesteps() throws {
        let x = try Tensor.zeros([3, 4, 2, 2, 2])
        for timesteps in [FlowMatch.Timesteps.rows([1, 2]), .frames([[1, 2], [3, 4]])] {
            let error = #expect(throws: SwanError.self) {
                try schedule.addNoise(x, x, at: timesteps)
            }
            #expect(error?.code == .invalidArgument)
        }
    }
}
