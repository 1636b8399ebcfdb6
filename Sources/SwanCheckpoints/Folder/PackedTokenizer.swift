import Foundation
import SwanSystem
public import SwanText
import Torch
public import TorchNN

extension Tokenizer {
    /// The key under which ComfyUI stores a tokenizer's model among a text encoder's weights.
    static let packedKey = "spiece_model"

    /// Whether a weight file contains a tokenizer's model.
    static func isPacked(
        in path: String,
        _ checkpoints: OpenCheckpoints
    ) throws(SwanError) -> Bool {
        guard path.hasSuffix(".safetensors") else { return false }
        do {
            return try checkpoints.open(path).shape(packedKey) != nil
        } catch {
            throw SwanError(.invalidModel, error.message, cause: error)
        }
    }

    /// Loads a tokenizer from its own file, or from a text encoder's weight file that contains one.
    ///
    /// - Parameter path: The path of a `spiece.model`, a `tokenizer.json`, or a safetensors file with the key
    ///   `spiece_model`.
    public convenience init(at path: String, rareText: RareText = .unknownMark) throws {
        guard path.hasSuffix(".safetensors") else {
            try self.init(contentsOf: path, rareText: rareText)
            return
        }
        let checkpoint = try Checkpoint.open(path)
        guard checkpoint.shape(Self.packedKey) != nil else {
            throw SwanError(
                .invalidModel,
                "\(path) does not contain a tokenizer (\(Self.packedKey)); specify a spiece.model"
            )
        }
        try self.init(packed: checkpoint, rareText)
    }

    /// Loads the tokenizer that a text encoder's checkpoint contains; returns nil if it contains none.
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
                "\(checkpoint.path): \(Self.packedKey) is \(tensor.dtype) \(shape); expected one row of uint8"
            )
        }
        do {
            try self.init(data: Data(tensor.array(of: UInt8.self)), rareText: rareText)
        } catch {
            throw SwanError(
                .invalidWeights,
                "\(checkpoint.path): cannot load the tokenizer in \(Self.packedKey): \(error)"
            )
        }
    }
}
