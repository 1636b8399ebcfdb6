import SwanCheckpoints
import SwanSystem

extension GenerationPlan {
    /// Throws if a request asks a causal model for what only others do.
    ///
    /// A causal model takes the steps of its `stream.yaml`, without guidance.
    static func checkCausal(
        _ request: GenerationRequest,
        _ model: GenerationModel,
        _ ranks: GenerationRanks?
    ) throws(SwanError) {
        guard let stream = model.stream else { return }
        func refuse(_ reason: String) -> SwanError {
            SwanError(.invalidRequest, "\(model.name) is a causal model, \(reason)")
        }
        if ranks != nil {
            throw refuse("which makes a video in one process; start the command without ranks")
        }
        let settings = request.settings
        let isGuided = [settings.guidance, settings.lowNoiseGuidance, settings.highNoiseGuidance]
            .contains { $0 ?? 1 != 1 }
        let others: [(isAsked: Bool, name: String)] = [
            (isGuided, "guidance"), (settings.negativePrompt != nil, "a negative prompt"),
            (settings.shift != nil, "a shift"), (settings.solver != nil, "a solver"),
            (settings.schedule != nil, "a schedule"), (settings.timesteps != nil, "timesteps"),
            (settings.cacheThreshold != nil, "a feature cache"),
            (request.initialLatents != nil, "initial latents"),
        ]
        let asked = others.filter(\.isAsked).map(\.name)
        guard asked.isEmpty else {
            throw refuse(
                "which was distilled to the steps \(stream.steps) without guidance; leave out "
                    + asked.joined(separator: ", ")
            )
        }
        var steps = stream
        if let count = settings.steps { try steps.keepSteps(count) }
    }
}
