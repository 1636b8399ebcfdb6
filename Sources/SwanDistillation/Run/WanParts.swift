import Foundation
import SwanCheckpoints
import SwanModels
import SwanSchedulers
import SwanSystem
import SwanTraining
import Torch
import TorchNN

/// The parts of a Wan checkpoint that a distillation uses.
struct WanParts {
    let folder: ModelFolder
    let config: WanConfig
    private let source: any WeightSource

    /// Finds the transformer of a model's folder, or of another file with a transformer.
    init(_ path: String, transformer: String? = nil) throws {
        let chosen = transformer.map { [ModelFolder.Part.transformer: $0] } ?? [:]
        folder = try ModelFolder(path, choosing: chosen)
        var files = try folder.require(.transformer)
        if transformer != nil {
            // The number of heads does not follow from the weights: it is that of the model.
            let own = try ModelFolder(path).parts[.transformer]
            files = ModelFolder.Files(
                data: files.data,
                config: own?.config,
                section: files.section
            )
        }
        source = try folder.weights(of: files)
        config = try WanConfig.read(files, fittedTo: source)
        guard config.imageDim == nil, config.vaceLayers == nil, config.inDim == config.outDim else {
            throw SwanError(
                .invalidModel,
                "\(files.data): is a model for images or controls; distillation needs a "
                    + "text-to-video model"
            )
        }
    }

    /// The transformer's weights in float32, to be trained.
    func weights() throws -> [String: Tensor] { try Self.weights(of: source) }

    /// The same of a transformer of this size in another file, or in a model's folder.
    ///
    /// - Parameter key: The dictionary of weights in a file of `torch.save`; nil for the usual one.
    func weights(of path: String, key: String?) throws -> [String: Tensor] {
        if let key { try ModelArchive.requireGroup(key, in: path) }
        var isFolder: ObjCBool = false
        guard
            !FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
                || !isFolder.boolValue
        else {
            let other = try WanParts(path)
            try requireSameShapes(other.source, path)
            return try other.weights()
        }
        let usual = ["generator", "generator_ema", "model", "state_dict"]
        let other = try Checkpoint.open(path, preferring: key.map { [$0] } ?? usual).inWanNames()
        try requireSameShapes(other, path)
        return try Self.weights(of: other)
    }

    /// Throws unless other weights have the same keys and shapes.
    private func requireSameShapes(_ other: any WeightSource, _ path: String) throws(SwanError) {
        let (own, given) = (Set(source.keys), Set(other.keys))
        var problems = own.subtracting(given).map { "missing: \($0)" }
        problems += given.subtracting(own).map { "unknown: \($0)" }
        for key in own.intersection(given) {
            let (expected, found) = (try source.shape(key) ?? [], try other.shape(key) ?? [])
            if found != expected { problems.append("\(key): \(found), not \(expected)") }
        }
        guard !problems.isEmpty else { return }
        let shown = problems.sorted().prefix(6).map { $0.printable() }.joined(separator: "; ")
        throw SwanError(
            .invalidWeights,
            "\(path): is not a transformer like that of the model, \(folder.path), in "
                + "\(problems.count) weights: \(shown)"
        )
    }

    private static func weights(of source: any WeightSource) throws -> [String: Tensor] {
        var weights: [String: Tensor] = [:]
        for key in source.keys {
            guard let shape = try source.shape(key) else { continue }
            weights[key] = try source.tensor(key, shape).to(.float32).cloned()
        }
        return weights
    }

    /// The transformer as a network that does not change.
    func frozen(
        _ form: NetworkForm,
        _ flow: FlowMatch,
        _ dtype: DType,
        _ device: Device
    ) throws(SwanError) -> CleanPredictor {
        try folder.require(.transformer).network(source, dtype, device, keepsStorage: false) {
            weights throws(SwanError) in try CleanPredictor(weights, form, flow)
        }
    }

    /// The number of the transformer's weights.
    var weightCount: Int { get throws(SwanError) { try Self.count(source) } }

    /// The number of the text encoder's weights.
    var textEncoderWeightCount: Int {
        get throws { try Self.count(folder.textEncoder(for: config).1) }
    }

    private static func count(_ source: any WeightSource) throws(SwanError) -> Int {
        var sum = 0
        for key in source.keys { sum += try source.shape(key)?.reduce(1, *) ?? 0 }
        return sum
    }

    /// What encodes prompts.
    ///
    /// - Parameter cache: The folder that keeps embeddings; nil for none.
    func textEncoder(
        _ dtype: DType,
        _ device: Device,
        cache: String?
    ) throws -> PromptEncoder {
        try PromptEncoder(folder, for: config, dtype, device, cache: cache)
    }

    /// Opens the autoencoder; nil if the folder has none.
    func autoencoder(_ device: Device) throws -> (any VideoAutoencoder)? {
        guard folder.parts[.vae] != nil else { return nil }
        return try AutoencoderChoice(nil, in: folder, latentChannels: config.inDim)
            .load(from: folder, .float32, device)
    }
}
