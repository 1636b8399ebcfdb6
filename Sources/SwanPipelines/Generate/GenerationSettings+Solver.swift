import SwanSchedulers
import SwanSystem
import Torch

extension GenerationSettings {
    /// Creates a solver.
    ///
    /// - Parameters:
    ///   - settings: How it deviates from its usual form.
    ///   - noise: The generator that stochastic solvers draw noise from.
    func makeSolver(
        _ solver: FlowSolverKind,
        _ settings: FlowSolverSettings,
        steps: Int,
        shift: Double,
        schedule: FlowScheduleKind,
        noise: Generator
    ) throws -> any FlowSolver {
        if let timesteps {
            return try FlowFewStep(
                FlowMatch(.streaming(shift: shift)),
                timesteps: timesteps,
                generator: noise
            )
        }
        func table(
            _ wan: FlowSteps.Spacing,
            _ diffusers: FlowSteps.Spacing
        ) throws(SwanError) -> FlowSteps {
            try FlowSteps(
                steps,
                shift: shift,
                spacing: schedule == .wan ? wan : diffusers,
                settings.levels
            )
        }
        switch solver {
        case .unipc:
            return FlowUniPC(try table(.wanUniPC, .diffusersUniPC), settings)
        case .dpmpp:
            return FlowDPMSolver(try table(.wan, .diffusersDPM), settings)
        case .dpmppSDE:
            return FlowSDEDPMSolver(try table(.wan, .diffusersDPM), settings, generator: noise)
        case .euler:
            // Wan's code has no Euler solver.
            let steps = try table(.diffusersEuler, .diffusersEuler)
            return settings.renewsNoise
                ? FlowRenewingEuler(steps, generator: noise) : FlowEuler(steps)
        }
    }
}
