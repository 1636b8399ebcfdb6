import Foundation

/// What diffusers keeps beside the weights about how a model is run.
struct DiffusersSettings: Sendable, Equatable {
    /// Whether it is a pipeline's folder at all.
    private(set) var isPipeline = false
    /// `flow_shift`, or `shift`, of the scheduler.
    private(set) var shift: Double?
    /// The noise level from which on the expert for high noise works.
    private(set) var boundary: Double?
    /// `_class_name` of the scheduler.
    private(set) var scheduler: String?

    /// Reads model_index.json and scheduler/scheduler_config.json; what is not there is not set.
    init(_ folder: ModelFolder) throws(SwanError) {
        struct Index: Decodable { let boundary_ratio: Double? }
        struct Scheduler: Decodable {
            let _class_name: String?
            let flow_shift, shift: Double?
        }
        if let path = folder.file("model_index.json") {
            isPipeline = true
            boundary = try Self.read(Index.self, path).boundary_ratio
        }
        if let path = folder.file("scheduler/scheduler_config.json") {
            let values = try Self.read(Scheduler.self, path)
            shift = values.flow_shift ?? values.shift
            scheduler = values._class_name
        }
    }

    private static func read<Value: Decodable>(
        _ type: Value.Type,
        _ path: String
    ) throws(SwanError) -> Value {
        do {
            let data = try Data(contentsOf: URL(fileURLWithPath: path))
            return try JSONDecoder().decode(type, from: data)
        } catch {
            throw SwanError(
                .invalidModel,
                "\(path) cannot be read as diffusers' settings: \(error)"
            )
        }
    }
}
