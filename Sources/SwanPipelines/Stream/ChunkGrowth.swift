import SwanCheckpoints

/// Makes chunks as long as the cache allows when a stream falls behind its target rate.
///
/// Once, after the first few chunks: longer chunks cost latency and give throughput.
struct ChunkGrowth {
    private let target: Double?
    private let framesPerChunk, largest: Int
    private let patience: Int
    private var recent: [Double] = []
    private var isOver = false

    /// - Parameter temporalStride: The frames that a latent frame stands for.
    init(_ options: StreamOptions, temporalStride: Int) {
        let configuration = options.configuration
        target = options.targetFPS
        framesPerChunk = temporalStride * configuration.framesPerBlock
        largest =
            temporalStride
            * max(
                configuration.framesPerBlock,
                configuration.cacheFrames - configuration.sinkFrames - 1
            )
        patience = 3 + configuration.steps.count
    }

    /// The frames of a chunk from now on, if that changes.
    ///
    /// - Parameters:
    ///   - seconds: what a chunk has cost.
    ///   - overlapping: whether the stages run side by side.
    mutating func add(_ seconds: StageSeconds, overlapping: Bool) -> Int? {
        guard let target, !isOver else { return nil }
        // Side by side the slowest stage decides.
        recent.append(
            overlapping
                ? max(seconds.encode, seconds.denoise, seconds.decode)
                : seconds.encode + seconds.denoise + seconds.decode
        )
        guard recent.count == patience else { return nil }
        isOver = true
        let rate = Double(3 * framesPerChunk) / recent.suffix(3).reduce(0, +)
        return rate < target && largest > framesPerChunk ? largest : nil
    }
}
