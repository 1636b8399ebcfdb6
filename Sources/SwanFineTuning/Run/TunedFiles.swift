import SwanCheckpoints
import SwanSystem
import SwanTraining
import Torch
import SwanPipelines

/// The files of a LoRA in training.
struct TunedFiles: Sendable {
    private let folder: FineTuningFolder
    private let model: TunedModel
    private let settings: FineTuningSettings

    init(_ folder: FineTuningFolder, _ model: TunedModel, _ settings: FineTuningSettings) {
        (self.folder, self.model, self.settings) = (folder, model, settings)
    }

    /// Writes a file for each transformer.
    ///
    /// - Parameter step: The step after which they are written; nil at the end.
    @discardableResult
    func write(
        _ weights: Networks,
        _ layers: [String: LoRALayers],
        step: Int? = nil
    ) throws -> [GenerationOptions.LoRAFile] {
        var files: [GenerationOptions.LoRAFile] = []
        for expert in model.experts {
            guard let own = layers[expert.role] else { continue }
            let path = folder.path(FineTuningFolder.loraName(expert.role, step: step))
            var facts = ["swan_seed": String(settings.seed)]
            facts["swan_step"] = step.map(String.init)
            facts["ss_output_name"] = settings.name
            try own.write(weights[expert.role], as: settings.format, metadata: facts, to: path)
            files.append(.init(path, expert: model.hasExperts ? expert.part : nil))
        }
        return files
    }
}
