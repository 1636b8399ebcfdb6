import Foundation
import GoldenSupport
import Testing
import Torch

@testable import SwanSchedulers

/// Tables with the bits of PyTorch's (Goldens/flow_tables).
struct FlowTableTests {
    private struct Configuration: Decodable {
        struct Run: Decodable {
            let index, steps: Int
            let shift, sigma_max, sigma_min, denoising_strength: Double
            let extra_one_step, inverse_timesteps, reverse_sigmas: Bool

            var options: FlowMatch.Options {
                var options = FlowMatch.Options()
                (options.steps, options.shift) = (steps, shift)
                (options.sigmaMax, options.sigmaMin) = (sigma_max, sigma_min)
                options.denoisingStrength = denoising_strength
                options.extraOneStep = extra_one_step
                options.inverseTimesteps = inverse_timesteps
                options.reverseSigmas = reverse_sigmas
                return options
            }
        }
        let runs: [Run]
    }

    @Test func haveTheBitsOfPyTorch() throws {
        let golden = try Golden("flow_tables")
        let runs = try golden.config(Configuration.self).runs
        #expect(runs.count == 40)
        for run in runs {
            let table = try FlowMatch(run.options)
            #expect(
                try table.sigmas == golden.output("\(run.index)/sigmas").array(of: Float.self),
                "\(run)"
            )
            #expect(
                try table.timesteps
                    == golden.output("\(run.index)/timesteps").array(of: Float.self),
                "\(run)"
            )
        }
    }

    @Test func streamingTablesHaveTheBitsOfPyTorch() throws {
        let table = try FlowMatch(.streaming(shift: 8))
        let golden = try Golden("flow_match")
        #expect(try table.sigmas == golden.output("stream/sigmas").array(of: Float.self))
    }

    /// I_x(1, b) = 1 - (1 - x)^b, and symmetry.
    @Test func quantilesOfTheBetaDistribution() {
        for p in [1e-6, 0.1, 0.5, 0.93] {
            #expect(abs(betaQuantile(p, 1, 3) - (1 - pow(1 - p, 1 / 3))) < 1e-12)
            #expect(abs(betaQuantile(p, 0.6, 0.6) + betaQuantile(1 - p, 0.6, 0.6) - 1) < 1e-9)
        }
        #expect(betaQuantile(0, 0.6, 0.6) == 0)
        #expect(betaQuantile(1, 0.6, 0.6) == 1)
    }
}
