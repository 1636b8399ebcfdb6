import SwanSchedulers
import SwanSystem
import Torch

extension GenerationSettings {
    /// Creates a solver.
    ///
    /// - Parameter noise: The generator that stochastic solvers draw noise from.
    func makeSolver(
        _ solver: FlowSolverKind,
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
            try FlowSteps(steps, shift: shift, spacing: schedule == .wan ? wan : diffusers)
        }
        return switch solver {
        case .unipc: FlowUniPC(try table(.wanUniPC, .diffusersUniPC))
        case .dpmpp: FlowDPMSolver(try table(.wan, .diffusersDPM))
        case .dpmppSDE: FlowSDEDPMSolver(try table(.wan, .diffusersDPM), generator: noise)
        // Wan's code has no Euler solver.
        case .euler: FlowEuler(try table(.diffusersEuler, .diffusersEuler))
        }
    }
}
