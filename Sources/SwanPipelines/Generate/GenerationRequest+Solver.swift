import SwanSchedulers
import SwanSystem
import Torch

extension GenerationRequest {
    /// The solver before its first step.
    ///
    /// - Parameter noise: where a solver that adds noise takes it from.
    func makeSolver(
        _ solver: Solver,
        steps: Int,
        shift: Double,
        schedule: Schedule,
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
        // Wan has no Euler solver of its own.
        case .euler: FlowEuler(try table(.diffusersEuler, .diffusersEuler))
        }
    }
}
