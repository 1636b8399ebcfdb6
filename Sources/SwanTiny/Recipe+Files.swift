import Foundation
import SwanCheckpoints
import SwanMedia
import SwanModels

extension Recipe {
    /// Returns the files that training reads and the folder it writes.
    func files(root: String, output: String) -> JobFiles {
        var files = JobFiles()
        let footage = (data.stills?.files ?? []) + data.videos.map(\.file)
        if !footage.isEmpty { files.inputs.append(root) }
        let folder = URL(fileURLWithPath: root, isDirectory: true)
        files.inputs += footage.map { URL(fileURLWithPath: $0, relativeTo: folder).path }
        if let start { files.models.append(ModelLocation.path(start)) }
        files.outputs = [.folder(output)]
        return files
    }

    /// A lower bound for the size of a transformer checkpoint in bytes: the matrices of the
    /// transformer and the text encoder, with their averages and two moments of each.
    var leastCheckpointBytes: Int {
        let (network, encoder) = (transformer.model, text.model)
        let block = 8 * network.dim * network.dim + 2 * network.dim * network.ffnDim
        let layer = 4 * encoder.dim * encoder.dim + 3 * encoder.dim * encoder.ffnDim
        // Two convolutions in the middle of both halves of the autoencoder.
        let widest = vae.model.dimMult.last ?? 1
        let (narrow, wide) = (widest * vae.model.baseDim, widest * vae.model.decoderBaseDim)
        let middle = 2 * 27 * (narrow * narrow + wide * wide)
        return 4 * 4 * max(middle, network.layers * block + encoder.layers * layer)
    }
}
