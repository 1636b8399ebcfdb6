import GoldenSupport
import SwanSchedulers
import Testing
import Torch
import SwanSystem

/// Compares with diffusers' and Wan's tables (Goldens/solvers).
struct FlowStepsTests {
    static let tables = [
        "unipc/wanUniPC", "unipc/diffusersUniPC", "dpm/wan", "dpm/diffusersDPM",
        "euler/diffusersEuler",
    ]

    @Test(arguments: tables) func tablesMatchTheReferences(_ run: String) throws {
        let golden = try Golden("solvers")
        let name = try #require(run.split(separator: "/").last)
        let spacing = try #require(FlowSteps.Spacing(rawValue: String(name)))
        for count in FlowSolverTests.counts {
            for shift in FlowSolverTests.shifts {
                let steps = try FlowSteps(count, shift: shift, spacing: spacing)
                let key = "\(run)/\(count)/\(Int(shift))"
                #expect(try steps.sigmas == golden.output("\(key)/sigmas").array(), "\(key)")
                #expect(try steps.timesteps == golden.output("\(key)/timesteps").array(), "\(key)")
                #expect(steps.count == count)
            }
        }
    }

    @Test func customLevels() throws {
        let steps = try FlowSteps(sigmas: [1, 0.5, 0.25])
        #expect(steps.sigmas == [1, 0.5, 0.25, 0])
        #expect(steps.timesteps == [1_000, 500, 250])
        #expect(try FlowSteps(sigmas: [0.9], timesteps: [899]).timesteps == [899])
    }

    @Test(arguments: FlowSteps.Spacing.allCases) func maximumSteps(_ spacing: FlowSteps.Spacing)
        throws
    {
        let steps = try FlowSteps(1_000, shift: 12, spacing: spacing)
        #expect(steps.count == 1_000)
        #expect(steps.sigmas.allSatisfy { 0...1 ~= $0 })
    }

    @Test func wrongNumbers() {
        func expectRefusal(
            _ part: String,
            sourceLocation: SourceLocation = #_sourceLocation,
            _ body: () throws -> FlowSteps
        ) {
            let error = #expect(throws: SwanError.self, sourceLocation: sourceLocation) {
                try body()
            }
            #expect(error?.code == .invalidOption, sourceLocation: sourceLocation)
            #expect(error?.message.contains(part) == true, sourceLocation: sourceLocation)
        }
        expectRefusal("0 steps are not in 1 to 1000") {
            try FlowSteps(0, shift: 5, spacing: .wan)
        }
        expectRefusal("1001 steps") { try FlowSteps(1_001, shift: 5, spacing: .wan) }
        for shift in [0, -1, .nan, .infinity] {
            expectRefusal("invalid shift \(shift)") {
                try FlowSteps(20, shift: shift, spacing: .wanUniPC)
            }
        }
        expectRefusal("noise levels coincide") { try FlowSteps(50, shift: 1e9, spacing: .wan) }
        for sigmas: [Float] in [[], [0.5, 0.7], [1.5, 0.5], [0.5, 0], [0.5, 0.5], [.nan]] {
            expectRefusal("noise levels \(sigmas)") { try FlowSteps(sigmas: sigmas) }
        }
        expectRefusal("1 timesteps do not match 2") {
            try FlowSteps(sigmas: [1, 0.5], timesteps: [1_000])
        }
    }
}
