import SwanDatasets
package import SwanSystem
package import SwanTraining
package import Torch

/// What a distillation is fed with.
package enum DistillationData: Sendable {
    case rows(any LatentRows)
    case prompts(any Prompts)

    /// Opens a file of prompts, or rows: a database of LMDB or a .safetensors file.
    package init(path: String, isPrompts: Bool) throws(SwanError) {
        if isPrompts {
            self = .prompts(PromptList(try PromptFile(path).prompts))
        } else if path.hasSuffix(".safetensors") {
            self = .rows(try SafetensorsRows(path))
        } else {
            self = .rows(try LatentDatabase(path))
        }
        guard count > 0 else { throw SwanError(.invalidData, "\(path): there are no rows") }
    }

    /// The number of rows or prompts.
    package var count: Int {
        switch self {
        case .rows(let rows): rows.count
        case .prompts(let prompts): prompts.count
        }
    }
}

/// Makes micro-batches: rows in the order of their epoch, and the embeddings of their prompts.
package struct BatchMaker: Sendable {
    private let data: DistillationData
    private let order: EpochOrder
    /// The number of rows that are trained on.
    private let trained: Int
    private let size: Int
    private let embed: @Sendable ([String]) throws -> Tensor

    /// Creates a maker of batches of `size` rows.
    ///
    /// - Parameters:
    ///   - limit: The maximum number of rows to use.
    ///   - heldOut: The number of last rows among them that are not trained on.
    ///   - embed: Encodes prompts to [B, T, textDim].
    package init(
        _ data: DistillationData,
        size: Int,
        limit: Int,
        heldOut: Int,
        seed: UInt64,
        embed: @escaping @Sendable ([String]) throws -> Tensor
    ) throws(SwanError) {
        self.data = data
        self.size = size
        self.embed = embed
        trained = min(limit, data.count) - heldOut
        guard trained > 0 else {
            throw SwanError(
                .invalidRecipe,
                "held_out_rows: \(heldOut) of \(min(limit, data.count)) rows leave none to train on"
            )
        }
        order = EpochOrder(seed: seed, count: trained)
    }

    /// The micro-batch at a place: embeddings, and states [B, T, C, F, H, W] if there is data.
    package func batch(_ place: BatchPlace) throws -> (text: Tensor, states: Tensor?) {
        try batch(of: (0..<size).map { order.row(place.number * size + $0) })
    }

    /// A micro-batch of one held-out row.
    package func heldOut(_ place: BatchPlace) throws -> (text: Tensor, states: Tensor?) {
        try batch(of: [trained + place.number])
    }

    private func batch(of rows: [Int]) throws -> (text: Tensor, states: Tensor?) {
        var prompts: [String] = []
        var states: [Tensor] = []
        for index in rows {
            switch data {
            case .prompts(let list): prompts.append(try list.prompt(index))
            case .rows(let rows):
                let row = try rows.row(index)
                guard row.latents.shape == rows.shape else {
                    throw SwanError(
                        .invalidData,
                        "row \(index) has the shape \(row.latents.shape), the first \(rows.shape)"
                    )
                }
                prompts.append(row.prompt)
                states.append(row.latents)
            }
        }
        let text = try embed(prompts)
        guard !states.isEmpty else { return (text, nil) }
        return (text, try stacked(states).permuted(0, 1, 3, 2, 4, 5).contiguous())
    }
}
