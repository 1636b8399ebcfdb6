import SwanCheckpoints
import Torch
import TorchNN
import SwanSystem

extension GenerationModel {
    /// Names the weights that are not finite, where a result is not.
    ///
    /// Looking at every weight before the start would read a file of many gigabytes twice.
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
            "\(what) is not finite (NaN or infinite), though all weights of \(names) are: "
                + (computed == .float32
                    ? "latents or embeddings that were given may not be"
                    : "its numbers leave the range of \(computed), try float32")
        )
    }

    /// The files that a part is made of, LoRAs included.
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
