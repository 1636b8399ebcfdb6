import SwanCheckpoints
import Torch
import TorchNN
import SwanSystem

extension GenerationModel {
    /// Throws if a result is not finite, naming the weights that are not finite if there are any.
    ///
    /// Checking every weight up front would read files of many gigabytes twice.
    func requireFinite(
        _ result: Tensor,
        _ part: ModelFolder.Part,
        _ what: String
    ) throws {
        guard try !result.isAllFinite() else { return }
        let files = try files(of: part)
        for file in files { try Checkpoint.open(file).requireFinite() }
        let names = files.joined(separator: ", ")
        let computed = part == .vae ? .float32 : dtype
        throw SwanError(
            .invalidWeights,
            "\(what) is not finite (NaN or infinite), although all weights in \(names) are; "
                + (computed == .float32
                    ? "check any latents or embeddings that were provided"
                    : "values exceed the range of \(computed), try float32")
        )
    }

    /// The files that a part is loaded from, including LoRAs.
    private func files(of part: ModelFolder.Part) throws -> [String] {
        switch part {
        case .vae: return autoencoderChoice.files
        case .transformer, .lowNoiseTransformer:
            let loras = options.loras.filter { $0.expert == nil || $0.expert == part }
            return try [folder.require(part).data] + loras.map(\.path)
        default: return [try folder.require(part).data]
        }
    }
}
