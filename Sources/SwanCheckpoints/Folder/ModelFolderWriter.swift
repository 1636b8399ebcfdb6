import Foundation
import SwanSystem
package import Torch
import Yams

/// Writes a model folder in the layout that `ModelFolder` prefers: one folder per part.
///
/// Files appear only when they are complete, and the configuration is written last: if a part's
/// configuration exists, the part is complete.
package struct ModelFolderWriter: Sendable {
    let root: URL
    /// The metadata written to every weight file.
    private let metadata: [String: String]

    /// Creates a writer for the folder `path`, which is created when needed.
    package init(_ path: String, metadata: [String: String]) {
        root = URL(fileURLWithPath: path, isDirectory: true)
        self.metadata = metadata
    }

    /// Returns the path for a part's data, after creating the part's folder.
    package func path(of part: ModelFolder.Part) throws -> String {
        let folder = root.appending(path: part.rawValue)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        return folder.appending(path: part.dataName).path
    }

    /// Writes a part's weights and configuration.
    ///
    /// Weights are stored in half precision, whose rounding error is far below the noise of training.
    ///
    /// - Parameter name: The name of the network's class in diffusers or transformers.
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
        try OutputPath.write(
            data,
            to: root.appending(path: part.rawValue).appending(path: "config.json").path
        )
    }

    /// The names of the files that an index names, which are next to it.
    static func shards(_ index: String) throws -> [String] {
        struct Index: Decodable {
            let weight_map: [String: String]
        }
        let data = try SmallFile.data(index, atMost: SmallFile.list)
        let names = Set(try JSONDecoder().decode(Index.self, from: data).weight_map.values)
        guard names.allSatisfy({ !$0.contains("/") }) else {
            throw SwanError(.invalidFile, "\(index): names files in other folders")
        }
        return names.sorted()
    }

    /// Writes the streaming configuration, including the styles that the model knows.
    package func write(_ configuration: StreamConfiguration) throws {
        let text = try YAMLEncoder().encode(configuration)
        try OutputPath.write(text.utf8, to: root.appending(path: "stream.yaml").path)
    }

    /// Writes how the model's videos are made by default.
    package func write(_ defaults: GenerationDefaults) throws {
        let text = try YAMLEncoder().encode(defaults)
        try OutputPath.write(text.utf8, to: root.appending(path: "generate.yaml").path)
    }
}

extension ModelFolder.Part {
    /// The file name of the part's weights, or of the tokenizer, in the part's folder.
    package var dataName: String {
        switch self {
        case .transformer, .lowNoiseTransformer, .vae: "diffusion_pytorch_model.safetensors"
        case .textEncoder, .imageEncoder: "model.safetensors"
        case .tokenizer: "spiece.model"
        }
    }
}
