import Foundation
import SwanSystem
package import Torch
import Yams

/// Writes a model's folder in the layout that `ModelFolder` reads first: one folder for each part.
///
/// A part appears when it is done, its configuration last: a part whose configuration is there is whole.
package struct ModelFolderWriter: Sendable {
    private let root: URL
    /// The text that goes into every file of weights.
    private let metadata: [String: String]

    /// A writer into the folder `path`, which is created when it is needed.
    package init(_ path: String, metadata: [String: String]) {
        root = URL(fileURLWithPath: path, isDirectory: true)
        self.metadata = metadata
    }

    /// The path of a part's data, once its folder exists.
    package func path(of part: ModelFolder.Part) throws -> String {
        let folder = root.appending(path: part.rawValue)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        return folder.appending(path: part.dataName).path
    }

    /// Writes a part's weights in half precision, whose rounding is far below what training leaves undecided, and its
    /// configuration.
    ///
    /// - Parameter name: the network's class, in the words of diffusers or transformers.
    package func write(
        _ weights: [String: Tensor],
        config: some Encodable,
        class name: String,
        as part: ModelFolder.Part
    ) throws {
        let path = try path(of: part)
        try Safetensors.write(
            weights.mapValues { try $0.to(.float16) },
            metadata: metadata,
            to: path
        )
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        let plain = try JSONSerialization.jsonObject(with: encoder.encode(config))
        guard var fields = plain as? [String: Any] else { return }
        fields["_class_name"] = name
        let data = try JSONSerialization.data(
            withJSONObject: fields,
            options: [.prettyPrinted, .sortedKeys]
        )
        try WholeFile.write(
            data,
            to: root.appending(path: part.rawValue).appending(path: "config.json").path
        )
    }

    /// Writes how the model streams, the looks that it knows included.
    package func write(_ configuration: StreamConfiguration) throws {
        let text = try YAMLEncoder().encode(configuration)
        try WholeFile.write(text.utf8, to: root.appending(path: "stream.yaml").path)
    }
}

extension ModelFolder.Part {
    /// The name of the part's weights, or of the tokenizer, in a folder for the part alone.
    package var dataName: String {
        switch self {
        case .transformer, .lowNoiseTransformer, .vae: "diffusion_pytorch_model.safetensors"
        case .textEncoder, .imageEncoder: "model.safetensors"
        case .tokenizer: "spiece.model"
        }
    }
}
