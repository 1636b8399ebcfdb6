import Foundation
package import SwanSchedulers
package import SwanSystem
import SwanModels

/// The settings for running a model that diffusers stores next to the weights.
package struct DiffusersSettings: Sendable {
    /// Whether the folder is that of a diffusers pipeline.
    package private(set) var isPipeline = false
    /// The scheduler's `flow_shift` or `shift`.
    package private(set) var shift: Double?
    /// The noise level at and above which the high-noise expert is used.
    package private(set) var boundary: Double?
    /// Whether the index names a second transformer.
    private(set) var hasExperts = false
    /// The scheduler's solver and its settings; nil without a file.
    private var scheduler: Result<SchedulerSettings, SwanError>?

    /// Reads `model_index.json` and `scheduler/scheduler_config.json`. Settings that are missing remain nil.
    package init(_ folder: ModelFolder) throws(SwanError) {
        struct Index: Decodable {
            let boundary_ratio: Double?
            /// The library and the class; nulls if the pipeline has no second transformer.
            let transformer_2: [String?]?
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
            let file = try SchedulerFile(path)
            // Some files have both: the class decides.
            let isForEuler = file["_class_name"] == .text("FlowMatchEulerDiscreteScheduler")
            let keys = isForEuler ? ["shift", "flow_shift"] : ["flow_shift", "shift"]
            for key in keys where shift == nil {
                shift = try file.number(key, in: 1e-3...1_000)
            }
            do {
                scheduler = .success(try SchedulerSettings(file))
            } catch {
                scheduler = .failure(error)
            }
        }
    }

    /// The solver of the scheduler's class and its settings; nil without a file.
    ///
    /// - Throws: `invalidModel` if the file asks for something that Swan does not have.
    package func requireScheduler() throws(SwanError) -> SchedulerSettings? {
        try scheduler?.get()
    }

    /// The settings for a solver that the user chose: the file's, if they are for that solver.
    package func settings(for solver: FlowSolverKind) -> FlowSolverSettings {
        guard case .success(let scheduler) = scheduler, scheduler.solver.isLike(solver) else {
            return FlowSolverSettings()
        }
        return scheduler.settings
    }

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
