/// What follows the flow from noise to a video.
public enum FlowSolverKind: String, Sendable, CaseIterable, Codable {
    case unipc
    case dpmpp = "dpm++"
    case dpmppSDE = "dpm++sde"
    case euler

    /// Whether the other one has the same settings.
    package func isLike(_ other: FlowSolverKind) -> Bool {
        let multistep = [FlowSolverKind.dpmpp, .dpmppSDE]
        return self == other || multistep.contains(self) && multistep.contains(other)
    }
}

/// Whose noise levels are used: the published codes differ in the last digits of their tables.
public enum FlowScheduleKind: String, Sendable, CaseIterable, Codable {
    case wan
    case diffusers
}
