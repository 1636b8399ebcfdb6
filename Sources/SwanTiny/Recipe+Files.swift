import Foundation
import SwanCheckpoints
import SwanMedia
import SwanModels

extension Recipe {
    /// What training reads and where it writes.
    func files(root: String, output: String) -> JobFiles {
        var files = JobFiles()
        let footage = (data.stills?.files ?? []) + data.videos.map(\.file)
        if !footage.isEmpty { files.inputs.append(root) }
        let folder = URL(fileURLWithPath: root, isDirectory: true)
        files.inputs += footage.map { URL(fileURLWithPath: $0, relativeTo: folder).path }
        if let start { files.models.append(BundledModels.folder(start) ?? start) }
        files.outputs = [.folder(output)]
        return files
    }

    /// Fewer bytes than a checkpoint of the transformer has: its matrices and the text encoder's, their
    /// averages and two moments of each.
    var leastCheckpointBytes: Int {
        let (network, encoder) = (transformer.model, text.model)
        let block = 8 * network.dim * network.dim + 2 * network.dim * network.ffnDim
        let layer = 4 * encoder.dim * encoder.dim + 3 * encoder.dim * encoder.ffnDim
        return 4 * 4 * (network.layers * block + encoder.layers * layer)
    }
}
