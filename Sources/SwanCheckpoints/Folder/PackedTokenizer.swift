import Foundation
import SwanSystem
public import SwanText
import Torch
public import TorchNN

extension Tokenizer {
    /// The name under which ComfyUI stores a tokenizer's model among a text encoder's weights.
    private static let packedName = "spiece_model"

    /// The key of a tokenizer's model among weights, below whatever prefix; nil if there is none.
    private static func packedKey(_ checkpoint: Checkpoint) -> String? {
        let keys = checkpoint.keys.filter { $0 == packedName || $0.hasSuffix("." + packedName) }
        return keys.min()
    }

    /// Whether a weight file contains a tokenizer's model, or a GGUF file a vocabulary.
    static func isPacked(
        in path: String,
        _ checkpoints: OpenCheckpoints
    ) throws(SwanError) -> Bool {
        do {
            let checkpoint = try checkpoints.open(path)
            return packedKey(checkpoint) != nil || GGUFVocabulary.isPresent(in: checkpoint)
        } catch {
            throw SwanError(.invalidModel, error.message, cause: error)
        }
    }

    /// Loads a tokenizer from its own file, or from a text encoder's weight file that contains one.
    ///
    /// - Parameter path: The path of a `spiece.model`, a `tokenizer.json`, a safetensors file with the key
    ///   `spiece_model`, or a GGUF file with a vocabulary.
    public convenience init(at path: String, rareText: RareText = .unknownMark) throws {
        let endings = ["safetensors", "sft", "gguf"]
        guard endings.contains(URL(fileURLWithPath: path).pathExtension.lowercased()) else {
            try self.init(contentsOf: path, rareText: rareText)
            return
        }
        let checkpoint = try Checkpoint.open(path)
        guard Self.packedKey(checkpoint) != nil || GGUFVocabulary.isPresent(in: checkpoint) else {
            throw SwanError(
                .invalidModel,
                "\(path) does not contain a tokenizer (\(Self.packedName)); specify a spiece.model"
            )
        }
        try self.init(packed: checkpoint, rareText)
    }

    /// Loads the tokenizer that a text encoder's checkpoint contains; returns nil if it contains none.
    public convenience init?(
        packedIn checkpoint: Checkpoint,
        rareText: RareText = .unknownMark
    ) throws {
        guard Self.packedKey(checkpoint) != nil || GGUFVocabulary.isPresent(in: checkpoint) else {
            return nil
        }
        try self.init(packed: checkpoint, rareText)
    }

    private convenience init(packed checkpoint: Checkpoint, _ rareText: RareText) throws {
        let (model, place) = try Self.model(in: checkpoint)
        do {
            try self.init(data: model, rareText: rareText)
        } catch {
            throw SwanError(
                .invalidWeights,
                "\(checkpoint.path): cannot load the tokenizer in \(place): \(error)"
            )
        }
    }

    /// The serialized model in a checkpoint, and where it is.
    private static func model(
        in checkpoint: Checkpoint
    ) throws(SwanError) -> (model: Data, place: String) {
        guard let key = packedKey(checkpoint) else {
            return (Data(try GGUFVocabulary(checkpoint).model()), "the metadata")
        }
        let shape = checkpoint.shape(key) ?? []
        let tensor = try checkpoint.tensor(key, shape)
        guard tensor.dtype == .uint8, tensor.rank == 1 else {
            throw SwanError(
                .invalidWeights,
                "\(checkpoint.path): \(key) is \(tensor.dtype) \(shape); expected one row of uint8"
            )
        }
        return (Data(try tensor.array(of: UInt8.self)), key)
    }
}
