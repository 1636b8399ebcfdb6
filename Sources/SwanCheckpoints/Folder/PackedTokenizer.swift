import Foundation
import SwanSystem
public import SwanText
import Torch
public import TorchNN

extension Tokenizer {
    /// The key under which ComfyUI puts a tokenizer's model among a text encoder's weights.
    static let packedKey = "spiece_model"

    /// Whether a file of weights carries a tokenizer's model.
    static func isPacked(
        in path: String,
        _ checkpoints: OpenCheckpoints
    ) throws(SwanError) -> Bool {
        guard path.hasSuffix(".safetensors") else { return false }
        do {
            return try checkpoints.open(path).shape(packedKey) != nil
        } catch {
            throw SwanError(.invalidModel, error.message)
        }
    }

    /// Loads a tokenizer's own file, or the one that a text encoder's weights carry.
    ///
    /// - Parameter path: `spiece.model`, `tokenizer.json`, or a safetensors file with `spiece_model`.
    public convenience init(at path: String, rareText: RareText = .unknownMark) throws {
        guard path.hasSuffix(".safetensors") else {
            try self.init(contentsOf: path, rareText: rareText)
            return
        }
        let checkpoint = try Checkpoint.open(path)
        guard checkpoint.shape(Self.packedKey) != nil else {
            throw SwanError(
                .invalidModel,
                "\(path) has no tokenizer in it (\(Self.packedKey)); give its spiece.model"
            )
        }
        try self.init(packed: checkpoint, rareText)
    }

    /// The tokenizer that a text encoder's checkpoint carries; nil where it carries none.
    public convenience init?(
        packedIn checkpoint: Checkpoint,
        rareText: RareText = .unknownMark
    ) throws {
        guard checkpoint.shape(Self.packedKey) != nil else { return nil }
        try self.init(packed: checkpoint, rareText)
    }

    private convenience init(packed checkpoint: Checkpoint, _ rareText: RareText) throws {
        let shape = checkpoint.shape(Self.packedKey) ?? []
        let tensor = try checkpoint.tensor(Self.packedKey, shape)
        guard tensor.dtype == .uint8, tensor.rank == 1 else {
            throw SwanError(
                .invalidWeights,
                "\(checkpoint.path): \(Self.packedKey) is \(shape) of \(tensor.dtype), not a row of bytes"
            )
        }
        do {
            try self.init(data: Data(tensor.array(of: UInt8.self)), rareText: rareText)
        } catch {
            throw SwanError(
                .invalidWeights,
                "\(checkpoint.path): \(Self.packedKey) cannot be used: \(error)"
            )
        }
    }
}
