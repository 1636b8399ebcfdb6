import SwanSchedulers
import SwanSystem

/// What a student for pictures cannot do.
struct StudentRequestCheck {
    private let request: FileGenerationRequest

    init(_ request: FileGenerationRequest) { self.request = request }

    /// Throws `invalidRequest` for the first option that a student does not have.
    func check() throws(SwanError) {
        let (generation, settings) = (request.generation, request.generation.settings)
        if let frames = settings.frames, frames != 1 {
            throw refusal("it makes single pictures, not \(frames) frames; use --frames 1")
        }
        guard request.output.lowercased().hasSuffix(".png"), !request.output.contains("%") else {
            throw refusal(
                "it makes single pictures; \(request.output) should be a file that ends in .png"
            )
        }
        let absent: [(Bool, String)] = [
            (generation.image != nil || generation.lastImage != nil, "input images"),
            (generation.control != nil, "control inputs"),
            (generation.initialLatents != nil, "latents to begin with"),
            (request.saveLatents != nil, "latents to save"),
            (!request.options.loras.isEmpty, "LoRAs"),
            (settings.timesteps != nil, "a list of timesteps"),
            (settings.solver.map { $0 != .euler } ?? false, "solvers other than euler"),
            (settings.boundary != nil, "a boundary between experts"),
            (settings.cacheThreshold != nil, "a cache of blocks"),
            (settings.previewInterval != nil, "previews"),
            (settings.area != nil, "an area in place of a size"),
            (
                [settings.guidance, settings.lowNoiseGuidance, settings.highNoiseGuidance]
                    .contains { $0 ?? 1 != 1 } || settings.negativePrompt != nil,
                "guidance at this point: its teacher's is part of what it has learned"
            ),
        ]
        if let (_, what) = absent.first(where: \.0) { throw refusal("it has no \(what)") }
    }

    private func refusal(_ words: String) -> SwanError {
        SwanError(.invalidRequest, "\(request.model): is a student for pictures: \(words)")
    }
}
