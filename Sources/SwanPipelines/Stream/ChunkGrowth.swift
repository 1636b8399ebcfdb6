import SwanCheckpoints

/// Lengthens chunks to what the cache allows when a stream falls behind its target rate.
///
/// Happens once, after the first few chunks: longer chunks trade latency for throughput.
struct ChunkGrowth {
    private let target: Double?
    private let framesPerChunk, largest: Int
    private let patience: Int
    private var recent: [Double] = []
    private var isOver = false

    /// - Parameter temporalStride: The frames that a latent frame stands for.
    init(_ options: StreamOptions, temporalStride: Int) {
        let configuration = options.configuration
        target = options.settings.targetFPS
        framesPerChunk = temporalStride * configuration.framesPerBlock
        largest =
            temporalStride
            * max(
                configuration.framesPerBlock,
                configuration.cacheFrames - configuration.sinkFrames - 1
            )
        patience = 3 + configuration.steps.count
    }

    /// Records the cost of a chunk and returns the new chunk length in frames, if it changes.
    ///
    /// - Parameters:
    ///   - seconds: The time the chunk took in each stage.
    ///   - overlapping: Whether the stages run concurrently.
    mutating func add(_ seconds: StageSeconds, overlapping: Bool) -> Int? {
        guard let target, !isOver else { return nil }
        // When stages run concurrently, the slowest one determines the rate.
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
