import Foundation
import SwanText
import Torch
import TorchNN

extension Tokenizer {
    /// The key under which ComfyUI puts a tokenizer's model among a text encoder's weights.
    static let packedKey = "spiece_model"

    /// The tokenizer that a text encoder's checkpoint carries; nil where it carries none.
    public convenience init?(
        packedIn checkpoint: Checkpoint,
        rareText: RareText = .unknownMark
    ) throws {
        guard let shape = checkpoint.shape(Self.packedKey) else { return nil }
        let tensor = try checkpoint.tensor(Self.packedKey, shape)
        guard tensor.dtype == .uint8, tensor.rank == 1 else {
            throw TorchError(
                .invalidWeights,
                "\(checkpoint.path): \(Self.packedKey) is \(shape) of \(tensor.dtype), not a row of bytes"
            )
        }
        do {
            try self.init(data: Data(tensor.array(of: UInt8.self)), rareText: rareText)
        } catch {
            throw TorchError(
                .invalidWeights,
                "\(checkpoint.path): \(Self.packedKey) cannot be used: \(error)"
            )
        }
    }
}
