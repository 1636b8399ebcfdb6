import Foundation
package import SwanSchedulers
package import SwanSystem
import SwanModels

/// The settings for running a model that diffusers stores next to the weights.
package struct DiffusersSettings: Sendable, Equatable {
    /// Whether the folder is that of a diffusers pipeline.
    package private(set) var isPipeline = false
    /// The scheduler's `flow_shift` or `shift`.
    package private(set) var shift: Double?
    /// The noise level at and above which the high-noise expert is used.
    package private(set) var boundary: Double?
    /// Whether the index names a second transformer.
    private(set) var hasExperts = false
    /// The solver that corresponds to the scheduler; nil if Swan does not have it.
    package private(set) var solver: FlowSolverKind?

    /// Reads `model_index.json` and `scheduler/scheduler_config.json`. Settings that are missing remain nil.
    package init(_ folder: ModelFolder) throws(SwanError) {
        struct Index: Decodable {
            let boundary_ratio: Double?
            /// The library and the class; nulls if the pipeline has no second transformer.
            let transformer_2: [String?]?
        }
        struct Scheduler: Decodable {
            let _class_name: String?
            let flow_shift, shift: Double?
        }
        if let path = folder.file("model_index.json") {
            isPipeline = true
            let index = try Self.read(Index.self, path)
            boundary = index.boundary_ratio
            if let boundary {
                try NumberLimits.require(
                    boundary,
                    in: 0...1,
                    "boundary_ratio",
                    of: path,
                    .invalidModel
                )
            }
            hasExperts = boundary != nil || index.transformer_2?.contains { $0 != nil } ?? false
        }
        if let path = folder.file("scheduler/scheduler_config.json") {
            let values = try Self.read(Scheduler.self, path)
            shift = values.flow_shift ?? values.shift
            if let shift {
                try NumberLimits.require(
                    shift,
                    in: 1e-3...1_000,
                    "flow_shift",
                    of: path,
                    .invalidModel
                )
            }
            solver = Self.solvers[values._class_name ?? ""]
        }
    }

    private static let solvers: [String: FlowSolverKind] = [
        "UniPCMultistepScheduler": .unipc,
        "FlowMatchEulerDiscreteScheduler": .euler,
        "DPMSolverMultistepScheduler": .dpmpp,
    ]

    private static func read<Value: Decodable>(
        _ type: Value.Type,
        _ path: String
    ) throws(SwanError) -> Value {
        do {
            return try JSONDecoder().decode(type, from: SmallFile.data(path))
        } catch let error as SwanError {
            throw error.as(.invalidModel)
        } catch {
            throw SwanError(
                .invalidModel,
                "\(path): cannot read diffusers' settings: "
                    + "\(error)".printable(limit: 1_000)
            )
        }
    }
}
