import Foundation
import GoldenSupport
import SwanSchedulers
import Testing
import Torch
import SwanSystem

/// A flow that depends nonlinearly on the sample and on time, as in the generator of the goldens.
struct BentFlow {
    let x: Tensor
    let a: Tensor
    let b: Tensor

    init(_ golden: Golden, _ dtype: DType = .float32) throws {
        x = try golden.input("x").to(dtype)
        a = try golden.input("a").to(dtype)
        b = try golden.input("b").to(dtype)
    }

    func callAsFunction(_ sample: Tensor, _ timestep: Float) throws -> Tensor {
        try a * sample * cos(Double(timestep) / 1_000) + b
    }

    /// The samples after every step of `solver`, [steps, ...].
    func trajectory(_ solver: any FlowSolver, noise: Tensor? = nil) throws -> Tensor {
        var (solver, sample, samples) = (solver, x, [Tensor]())
        for (index, timestep) in solver.steps.timesteps.enumerated() {
            let v = try self(sample, timestep)
            if var stochastic = solver as? any StochasticFlowSolver, let noise {
                let fresh = try noise.selected(0, min(index, noise.size(0) - 1))
                sample = try stochastic.step(flow: v, sample: sample, noise: fresh)
                solver = stochastic
            } else {
                sample = try solver.step(flow: v, sample: sample)
            }
            samples.append(sample)
        }
        #expect(solver.index == samples.count)
        return try stacked(samples, dim: 0)
    }
}

/// Compares with diffusers' solvers, which agree bit for bit with Wan's own (Goldens/solvers).
struct FlowSolverTests {
    static let counts = [1, 2, 4, 8, 20, 50]
    static let shifts = [1.0, 3, 5, 8, 12]
    static let runs = [
        "unipc/wanUniPC", "unipc/diffusersUniPC", "dpm/wan", "dpm/diffusersDPM", "sde/wan",
        "euler/diffusersEuler",
    ]

    let golden: Golden
    let flow: BentFlow

    init() throws {
        golden = try Golden("solvers")
        flow = try BentFlow(golden)
    }

    static func solver(_ name: String, _ steps: FlowSteps) throws -> any FlowSolver {
        switch name {
        case "unipc": FlowUniPC(steps)
        case "dpm": FlowDPMSolver(steps)
        case "sde": FlowSDEDPMSolver(steps, generator: try Generator(seed: 1))
        default: FlowEuler(steps)
        }
    }

    @Test func everyRunIsTested() throws {
        let samples = golden.keys.filter { $0.hasSuffix("/samples") }
        #expect(samples.count == Self.runs.count * Self.counts.count * Self.shifts.count)
    }

    @Test(arguments: runs, counts) func trajectories(_ run: String, _ count: Int) throws {
        for device in Device.tested {
            try expectTrajectories(Golden("solvers", on: device), run, count)
        }
    }

    private func expectTrajectories(_ golden: Golden, _ run: String, _ count: Int) throws {
        let flow = try BentFlow(golden)
        let parts = run.split(separator: "/").map(String.init)
        let spacing = try #require(FlowSteps.Spacing(rawValue: parts[1]))
        for shift in Self.shifts {
            let name = "\(run)/\(count)/\(Int(shift))"
            let steps = try FlowSteps(count, shift: shift, spacing: spacing)
            try expectClose(
                flow.trajectory(Self.solver(parts[0], steps), noise: golden.input("noise")),
                golden.output("\(name)/samples"),
                within: golden.tolerance,
                name
            )
        }
    }

    /// In float32, as in the reference, rounding would hide small errors in the corrector's coefficients.
    @Test(arguments: [4, 8, 20]) func unipcInFloat64(_ count: Int) throws {
        let flow = try BentFlow(golden, .float64)
        let steps = try FlowSteps(count, shift: 5, spacing: .wanUniPC)
        try expectClose(
            flow.trajectory(FlowUniPC(steps)),
            golden.output("unipc/wanUniPC/\(count)/5/samples64"),
            relative: 1e-10,
            absolute: 1e-10
        )
    }

    /// If the flow always points to the same clean sample, any number of steps reaches it.
    @Test(arguments: ["unipc", "dpm", "sde", "euler"], FlowSteps.Spacing.allCases)
    func straightFlowsEndAtTheCleanSample(_ name: String, _ spacing: FlowSteps.Spacing) throws {
        let (noise, clean) = (flow.x, flow.b)
        for count in [1, 2, 3, 7] {
            var solver = try Self.solver(name, FlowSteps(count, shift: 3, spacing: spacing))
            let first = Double(solver.steps.sigmas[0])
            var x = try clean * (1 - first) + noise * first
            for sigma in solver.steps.sigmas.dropLast() {
                x = try solver.step(flow: (x - clean) * (1 / Double(sigma)), sample: x)
            }
            try expectClose(x, clean, relative: 1e-5, absolute: 1e-5, "\(count) steps")
        }
    }

    /// dx/dsigma = x cos(sigma), so x(t) = x(s) e^(sin t - sin s), evenly in lambda, in float64.
    ///
    /// The corrector raises the order of the predictor by one.
    @Test(arguments: [("euler", 1.0), ("dpm", 2.0), ("unipc", 3.0)])
    func errorsFallWithTheOrder(_ name: String, _ order: Double) throws {
        func error(_ count: Int) throws -> Double {
            let sigmas = (0...count).map {
                1 / (1 + Float(exp(6 * Double($0) / Double(count) - 3)))
            }
            var solver = try Self.solver(name, FlowSteps(sigmas: sigmas))
            var x = try Tensor.ones([1], .float64)
            for sigma in sigmas.dropLast() {
                x = try solver.step(flow: x * cos(Double(sigma)), sample: x)
            }
            #expect(x.dtype == .float64)
            let ends = (first: Double(sigmas[0]), last: Double(sigmas[count]))
            return abs(try x.item() - exp(sin(ends.last) - sin(ends.first)))
        }
        let rate = log2(try error(100) / error(200))
        #expect(abs(rate - order) < 0.2, "errors fall with the order \(rate)")
    }

    @Test func correctionImprovesAccuracyWithoutMoreCalls() throws {
        func error(_ name: String) throws -> Double {
            let fine = FlowDPMSolver(try FlowSteps(1_000, shift: 3, spacing: .wan))
            let coarse = try Self.solver(name, FlowSteps(8, shift: 3, spacing: .wan))
            let exact = try flow.trajectory(fine).selected(0, -1)
            return try (flow.trajectory(coarse).selected(0, -1) - exact).abs().max().item()
        }
        let (euler, dpm, unipc) = (try error("euler"), try error("dpm"), try error("unipc"))
        #expect(dpm < euler)
        #expect(unipc < dpm)
    }

    @Test(arguments: ["unipc", "dpm", "sde", "euler"])
    func copiesAreIndependent(_ name: String) throws {
        let noise = try golden.input("noise")
        let steps = try FlowSteps(6, shift: 5, spacing: .wan)
        var solver = try Self.solver(name, steps)
        let expected = try flow.trajectory(solver, noise: noise)
        var copies = [solver]
        var sample = flow.x
        for index in 0..<steps.count {
            let v = try flow(sample, steps.timesteps[index])
            if var stochastic = solver as? any StochasticFlowSolver {
                sample = try stochastic.step(
                    flow: v,
                    sample: sample,
                    noise: noise.selected(0, index)
                )
                solver = stochastic
            } else {
                sample = try solver.step(flow: v, sample: sample)
            }
            copies.append(solver)
            // Copies do not affect each other.
            _ = try copies[index].step(flow: -v, sample: v)
            #expect(copies[index].index == index + 1)
        }
        try expectClose(sample, expected.selected(0, -1), relative: 0, absolute: 0)
    }

    @Test(arguments: ["unipc", "dpm", "euler"])
    func samplesMayBeChangedAfterAStep(_ name: String) throws {
        let steps = try FlowSteps(4, shift: 5, spacing: .wan)
        var solver = try Self.solver(name, steps)
        let expected = try flow.trajectory(solver)
        var sample = try flow.x.cloned()
        for timestep in steps.timesteps {
            var v = try flow(sample, timestep)
            let next = try solver.step(flow: v, sample: sample).cloned()
            try sample.fill(with: .nan)
            try v.fill(with: .nan)
            sample = next
        }
        try expectClose(sample, expected.selected(0, -1), relative: 0, absolute: 0)
    }

    @Test(arguments: ["unipc", "dpm", "sde", "euler"])
    func keepsTheDTypeOfTheSample(_ name: String) throws {
        let noise = try golden.input("noise")
        let steps = try FlowSteps(4, shift: 5, spacing: .wan)
        var solver = try Self.solver(name, steps)
        let half = try flow.x.to(.bfloat16)
        for _ in 0..<4 {
            let next = try solver.step(flow: noise.selected(0, 0), sample: half)
            #expect(next.dtype == .bfloat16)
        }
    }

    @Test func noiseComesFromTheGenerator() throws {
        let steps = try FlowSteps(5, shift: 3, spacing: .wan)
        let generator = try Generator(seed: 7)
        let noise = try stacked(
            (0..<5).map { _ in try Tensor.randn(flow.x.shape, generator) },
            dim: 0
        )
        let given = FlowSDEDPMSolver(steps, generator: try Generator(seed: 1))
        let drawn = FlowSDEDPMSolver(steps, generator: try Generator(seed: 7))
        try expectClose(
            flow.trajectory(drawn),
            flow.trajectory(given, noise: noise),
            relative: 0,
            absolute: 0
        )
    }

    @Test(arguments: ["unipc", "dpm", "sde", "euler"])
    func refusesMismatches(_ name: String) throws {
        var solver = try Self.solver(name, FlowSteps(1, shift: 3, spacing: .wan))
        let short = try flow.x.sliced(1, 0..<2)
        let shapes = #expect(throws: SwanError.self) {
            try solver.step(flow: short, sample: flow.x)
        }
        #expect(shapes?.message.contains("[1, 2, 1, 2, 2]") == true)
        if var stochastic = solver as? any StochasticFlowSolver {
            #expect(throws: SwanError.self) {
                try stochastic.step(flow: flow.b, sample: flow.x, noise: short)
            }
        }
        #expect(solver.index == 0)
        _ = try solver.step(flow: flow.b, sample: flow.x)
        let over = #expect(throws: SwanError.self) {
            try solver.step(flow: flow.b, sample: flow.x)
        }
        #expect(over?.message.contains("the last step (1) is done") == true)
    }
}
