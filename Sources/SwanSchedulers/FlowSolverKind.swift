/// What follows the flow from noise to a video.
public enum FlowSolverKind: String, Sendable, CaseIterable, Codable {
    case unipc
    case dpmpp = "dpm++"
    case dpmppSDE = "dpm++sde"
    case euler
}

/// Whose noise levels are used: the published codes differ in the last digits of their tables.
public enum FlowScheduleKind: String, Sendable, CaseIterable, Codable {
    case wan
    case diffusers
}
