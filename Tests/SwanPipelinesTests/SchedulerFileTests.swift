import Foundation
import GoldenSupport
import ModelSupport
import SwanCheckpoints
import SwanSchedulers
import SwanSystem
import Testing
import Torch

@testable import SwanPipelines

/// Compares with diffusers' schedulers as their own files set them (Goldens/schedulers).
@Suite struct SchedulerFileTests {
    private struct Configuration: Decodable {
        struct Run: Decodable {
            let name: String
            let steps: Int
            let file: String
        }
        let runs: [Run]
    }

    private let folder = FileManager.default.temporaryDirectory.appending(
        path: "swan-\(UUID().uuidString)"
    )

    private func withFolder(_ body: (String) throws -> Void) throws {
        try FileManager.default.createDirectory(
            at: folder.appending(path: "scheduler"),
            withIntermediateDirectories: true
        )
        defer { try? FileManager.default.removeItem(at: folder) }
        try body(folder.path(percentEncoded: false))
    }

    private func settings(_ file: String, _ path: String) throws -> DiffusersSettings {
        try Data(file.utf8).write(to: folder.appending(path: "scheduler/scheduler_config.json"))
        try Data("{}".utf8).write(to: folder.appending(path: "model_index.json"))
        return try DiffusersSettings(ModelFolder(path))
    }

    private func solver(_ settings: DiffusersSettings, steps: Int) throws -> any FlowSolver {
        let scheduler = try #require(try settings.requireScheduler())
        return try GenerationSettings().makeSolver(
            scheduler.solver,
            settings.settings(for: scheduler.solver),
            steps: steps,
            shift: #require(settings.shift),
            schedule: scheduler.schedule ?? .diffusers,
            noise: Generator(seed: 1)
        )
    }

    @Test func matchDiffusers() throws {
        let golden = try Golden("schedulers")
        let runs = try golden.config(Configuration.self).runs
        #expect(runs.count == 72)
        #expect(runs.contains { $0.file.contains("-Infinity") })
        let (x, a, b) = (
            try golden.input("x"), try golden.input("a"), try golden.input("b")
        )
        try withFolder { path in
            for run in runs {
                var solver = try solver(settings(run.file, path), steps: run.steps)
                let levels = solver.steps
                // 1 - product loses digits, which PyTorch's square root has rounded differently.
                let isCoarse = run.file.contains("\"rescale_betas_zero_snr\": true")
                try expectClose(
                    Tensor(levels.sigmas, [levels.sigmas.count]),
                    golden.output("\(run.name)/sigmas"),
                    relative: isCoarse ? 1e-3 : 3e-7,
                    absolute: isCoarse ? 1e-3 : 1e-9,
                    "\(run.name): noise levels of \(run.file)"
                )
                try expectClose(
                    Tensor(levels.timesteps, [levels.timesteps.count]),
                    golden.output("\(run.name)/timesteps"),
                    relative: 3e-7,
                    absolute: 1e-6,
                    "\(run.name): timesteps of \(run.file)"
                )
                let key = "\(run.name)/samples"
                guard golden.keys.contains("output/\(key)") else { continue }
                let expected = try golden.output(key)
                let isWide = expected.dtype == .float64
                var sample = try x.to(expected.dtype)
                for (index, timestep) in levels.timesteps.enumerated() {
                    let slope = try a.to(sample.dtype) * cos(Double(timestep) / 1_000)
                    let flow = try slope * sample + b.to(sample.dtype)
                    if var stochastic = solver as? any StochasticFlowSolver {
                        let noise = try golden.input("noise").selected(0, index)
                        sample = try stochastic.step(flow: flow, sample: sample, noise: noise)
                        solver = stochastic
                    } else {
                        sample = try solver.step(flow: flow, sample: sample)
                    }
                    #expect(try sample.isAllFinite(), "\(run.name), step \(index + 1)")
                    guard index < expected.size(0) else { continue }
                    try expectClose(
                        sample,
                        expected.selected(0, index),
                        relative: isCoarse ? 1e-3 : isWide ? 1e-6 : golden.tolerance.relative,
                        absolute: isCoarse ? 1e-3 : isWide ? 1e-6 : golden.tolerance.absolute,
                        "\(run.name), step \(index + 1) of \(run.file)"
                    )
                }
            }
        }
    }

    /// What the published folders have, with one key changed.
    private func file(_ key: String, _ value: String, class name: String) -> String {
        var values = [
            "_class_name": "\"\(name)\"", "_diffusers_version": "\"0.42.1\"",
            "flow_shift": "3.0", "shift": "3.0", "prediction_type": "\"flow_prediction\"",
            "use_flow_sigmas": "true", "num_train_timesteps": "1000", "solver_order": "2",
            "lambda_min_clipped": "-Infinity", "dynamic_thresholding_ratio": "0.995",
        ]
        values[key] = value
        return "{" + values.map { "\"\($0.key)\": \($0.value)" }.joined(separator: ", ") + "}"
    }

    private static let (unipc, dpm, euler) = (
        "UniPCMultistepScheduler", "DPMSolverMultistepScheduler", "FlowMatchEulerDiscreteScheduler"
    )

    @Test(arguments: [
        (unipc, "use_flow_sigmas", "false"), (unipc, "prediction_type", "\"epsilon\""),
        (unipc, "predict_x0", "false"), (unipc, "thresholding", "true"),
        (unipc, "solver_order", "0"), (unipc, "solver_order", "2.5"),
        (unipc, "solver_type", "\"bh3\""), (unipc, "solver_p", "{\"a\": 1}"),
        (unipc, "disable_corrector", "[\"0\"]"), (unipc, "disable_corrector", "[0.5]"),
        (unipc, "lower_order_final", "false"), (unipc, "use_exponential_sigmas", "true"),
        (unipc, "use_beta_sigmas", "true"), (unipc, "use_dynamic_shifting", "true"),
        (unipc, "timestep_spacing", "\"random\""), (unipc, "num_train_timesteps", "4000"),
        (unipc, "final_sigmas_type", "\"one\""), (unipc, "shift_terminal", "2"),
        (dpm, "algorithm_type", "\"dpmsolver\""), (dpm, "solver_order", "4"),
        (dpm, "use_karras_sigmas", "true"), (dpm, "use_lu_lambdas", "true"),
        (dpm, "variance_type", "\"learned\""), (dpm, "euler_at_final", "1"),
        (euler, "invert_sigmas", "true"), (euler, "use_dynamic_shifting", "true"),
        (euler, "stochastic_sampling", "\"yes\""), (euler, "time_shift_type", "\"cubic\""),
        ("EulerDiscreteScheduler", "_class_name", "\"EulerDiscreteScheduler\""),
        (unipc, "sigma_curve", "4"),
        ("FlowUniPCMultistepScheduler", "final_sigmas_type", "\"sigma_min\""),
    ]) func refuseWhatTheyDoNotHonor(_ name: String, _ key: String, _ value: String) throws {
        try withFolder { path in
            let settings = try settings(file(key, value, class: name), path)
            let error = #expect(throws: SwanError.self) { try settings.requireScheduler() }
            let message = error?.message ?? ""
            #expect(error?.code == .invalidModel)
            #expect(message.contains("scheduler_config.json: \(key) is "), "\(message)")
            // The shift is known all the same, for who chooses a solver.
            #expect(settings.shift == 3)
            #expect(settings.settings(for: .euler) == FlowSolverSettings())
        }
    }

    @Test func acceptKeysOfOtherSchedulers() throws {
        try withFolder { path in
            let file = """
                {"_class_name": "\(Self.euler)", "shift": 2.5, "flow_shift": 7, "solver_order": 3, \
                "clip_sample": true, "a_new_switch": false, "lambda_min_clipped": -Infinity}
                """
            let settings = try settings(file, path)
            let scheduler = try #require(try settings.requireScheduler())
            #expect(scheduler.solver == .euler)
            #expect(scheduler.settings.renewsNoise == false)
            #expect(settings.shift == 2.5)
        }
    }

    @Test(arguments: [
        (unipc, "flow_shift", "NaN"), (unipc, "flow_shift", "Infinity"),
        (euler, "shift", "\"high\""),
    ]) func aShiftThatIsNoNumberNamesItsKey(_ name: String, _ key: String, _ value: String) throws {
        try withFolder { path in
            let error = #expect(throws: SwanError.self) {
                try settings(file(key, value, class: name), path)
            }
            #expect(error?.message.contains("\(key) is ") ?? false, "\(error?.message ?? "")")
        }
    }
}
