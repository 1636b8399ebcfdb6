import SwanCheckpoints
import SwanDistributed
import SwanSystem
import Torch

/// What the ranks of a stream must know of its options, which rank 0 decides.
struct StagedTerms: Sendable, Equatable {
    /// The size in pixels, and that with black bars, if there are any.
    private let height, width: Int
    private let outputHeight, outputWidth: Int?
    private let seed: UInt64
    private let streamBatch: Bool
    private let steps: [Int]

    private static let fixedWords = 6

    init(_ options: StreamOptions) {
        (height, width) = (options.height, options.width)
        (outputHeight, outputWidth) = (options.outputHeight, options.outputWidth)
        (seed, streamBatch) = (options.settings.seed, options.settings.streamBatch)
        steps = options.configuration.steps
    }

    /// Reads the terms that a message carries.
    init(_ message: StageMessage) throws(SwanError) {
        guard let tensor = message.tensors.first, tensor.dtype == .int64,
            tensor.count > Self.fixedWords
        else { throw SwanError(.invalidData, "a plan without steps") }
        let words: [Int] = try tensor.array()
        (height, width) = (words[0], words[1])
        (outputHeight, outputWidth) = (words[2] > 0 ? words[2] : nil, words[3] > 0 ? words[3] : nil)
        (seed, streamBatch) = (UInt64(bitPattern: Int64(words[4])), words[5] != 0)
        steps = Array(words[Self.fixedWords...])
    }

    /// A message with the terms.
    func message() throws(SwanError) -> StageMessage {
        let words =
            [
                height, width, outputHeight ?? 0, outputWidth ?? 0,
                Int(Int64(bitPattern: seed)), streamBatch ? 1 : 0,
            ] + steps
        var message = StageMessage(.plan)
        message.tensors = [try Tensor(words, [words.count])]
        return message
    }

    func apply(to options: inout StreamOptions) {
        (options.height, options.width) = (height, width)
        (options.outputHeight, options.outputWidth) = (outputHeight, outputWidth)
        (options.settings.seed, options.settings.streamBatch) = (seed, streamBatch)
        options.configuration.steps = steps
    }
}
