import SwanSystem
import SwanTraining
import Torch

/// Makes micro-batches of rows, some without their prompts.
struct TuningBatches: Sendable {
    let rows: any TuningRows
    /// The rows that are not trained on.
    let heldOut: [Int]
    /// The embeddings of no text [T, textDim].
    let noText: Tensor
    let order: BucketOrder
    let size: Int
    let dropout: Double
    let seed: UInt64

    /// The micro-batch at a place.
    func batch(_ place: BatchPlace) throws -> FlowTuning.Batch {
        var random = SampleRandom(
            seed: seed,
            index: UInt64(place.number),
            purpose: TuningPurpose.dropout.rawValue
        )
        let drawn = try order.rows(place.number).map { try rows.row($0) }
        return try batch(of: drawn, withoutText: drawn.map { _ in random.chance(dropout) })
    }

    /// A micro-batch of one held-out row.
    func heldOut(_ place: BatchPlace) throws -> FlowTuning.Batch {
        try batch(of: [rows.row(heldOut[place.number])], withoutText: [false])
    }

    private func batch(
        of rows: [TuningRow],
        withoutText: [Bool]
    ) throws(SwanError) -> FlowTuning.Batch {
        let texts = zip(rows, withoutText).map { $1 ? noText : $0.text }
        let longest = texts.map { $0.size(0) }.max() ?? 0
        let text = try stacked(
            texts.map { text throws(SwanError) in
                // Rows of zeros are padding.
                try text.padded([0, 0, 0, longest - text.size(0)])
            }
        )
        var condition = TunedNetwork.Condition(text: text)
        func joined(_ part: KeyPath<TuningRow, Tensor?>) throws(SwanError) -> Tensor? {
            let tensors = rows.compactMap { $0[keyPath: part] }
            return tensors.count == rows.count ? try stacked(tensors) : nil
        }
        condition.pictures = try joined(\.pictures)
        condition.features = try joined(\.features)
        return FlowTuning.Batch(latents: try stacked(rows.map(\.latents)), condition)
    }
}
