import SwanDatasets
import SwanSystem
import SwanTraining
import Torch

/// What a student learns from: prompts, and the pictures that are noised.
struct StudentData: Sendable {
    /// Where a row's clean latents are.
    private enum Pictures: Sendable {
        /// Nowhere: the student sees noise alone, as published.
        case none
        /// The teacher's own.
        case made(TensorCache)
        case given(any LatentRows)
    }

    /// The prompt of each row.
    let prompts: [String]
    private let texts: TensorCache
    private let pictures: Pictures
    /// The pictures of each prompt.
    private let repeats: Int

    /// Prompts of a file with pictures of the teacher's, or without any.
    init(_ prompts: [String], repeats: Int, texts: TensorCache, pictures: TensorCache?) {
        self.prompts = prompts.flatMap { Array(repeating: $0, count: repeats) }
        (self.texts, self.repeats) = (texts, repeats)
        self.pictures = pictures.map { .made($0) } ?? .none
    }

    /// Prompts and latents of a store.
    ///
    /// - Parameter isUsed: Whether the latents are, or only the prompts.
    init(_ rows: any LatentRows, texts: TensorCache, isUsed: Bool) throws(SwanError) {
        var prompts: [String] = []
        for index in 0..<rows.count { prompts.append(try rows.row(index).prompt) }
        (self.prompts, self.texts, repeats) = (prompts, texts, 1)
        pictures = isUsed ? .given(rows) : .none
    }

    /// The name of a row's picture in a cache: its prompt and its number among those of the prompt.
    static func pictureName(_ prompt: String, _ number: Int) -> String { "\(number) \(prompt)" }

    /// The names of all pictures in a cache.
    var pictureNames: [String] {
        prompts.enumerated().map { Self.pictureName($1, $0 % repeats) }
    }

    /// The embeddings [B, L, D] of rows with zeros after each prompt, and the numbers of tokens.
    func text(_ rows: [Int]) throws -> (embeddings: Tensor, lengths: [Int]) {
        try Self.joined(rows.map { try texts.read(prompts[$0]) })
    }

    /// Embeddings [L, D] as one batch.
    static func joined(_ texts: [Tensor]) throws -> (embeddings: Tensor, lengths: [Int]) {
        let lengths = texts.map { $0.size(0) }
        let longest = max(1, lengths.max() ?? 1)
        let padded = try texts.map { try $0.padded([0, 0, 0, longest - $0.size(0)]) }
        return (try stacked(padded), lengths)
    }

    /// The clean latents [B, Z, H, W] of rows; nil if there are none.
    func pictures(_ rows: [Int]) throws -> Tensor? {
        switch pictures {
        case .none: return nil
        case .made(let cache):
            return try stacked(
                rows.map { try cache.read(Self.pictureName(prompts[$0], $0 % repeats)) }
            )
        case .given(let store):
            return try stacked(
                rows.map { row in
                    let states = try store.row(row).latents  // [T, F, Z, H, W]
                    return try states.selected(0, states.size(0) - 1).selected(0, 0).cloned()
                }
            )
        }
    }
}

/// The rows of micro-batches. An epoch ends with a smaller one if need be.
struct StudentRows: Sendable {
    private let order: EpochOrder
    private let count, size, perEpoch: Int

    /// Creates the order of the first `count` rows, of which an epoch has each once.
    ///
    /// - Parameter multiple: The micro-batches of an epoch are a multiple of this; those that are
    ///   left over have rows of the next epoch's order, so that all ranks have work.
    init(seed: UInt64, count: Int, batch: Int, multiple: Int) {
        order = EpochOrder(seed: seed, count: count)
        (self.count, size) = (count, batch)
        let batches = (count + batch - 1) / batch
        perEpoch = (batches + multiple - 1) / multiple * multiple
    }

    /// The rows of a micro-batch.
    func rows(_ number: Int) -> [Int] {
        let (epoch, place) = (number / perEpoch, number % perEpoch)
        let first = place * size
        guard first < count else {
            // As a sampler that pads an epoch to the number of ranks: from the beginning again.
            let start = first % count
            return (start..<min(start + size, count)).map { order.row(epoch * count + $0) }
        }
        return (first..<min(first + size, count)).map { order.row(epoch * count + $0) }
    }
}
