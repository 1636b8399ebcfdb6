extension EncodeStage {
    /// Encodes a source's frames to its end, and gives each chunk to `put` until that returns false.
    func encode(_ source: StreamSource, put: (NoisedChunk) throws -> Bool) throws {
        while let frame = try source.next() {
            if let chunk = try add(frame), try !put(chunk) { return }
        }
        while !source.isStopped(), let chunk = try finish(), try put(chunk) {}
    }

    /// Gives chunks of noise for at least `frames` frames to `put`, until that returns false.
    ///
    /// - Parameter willStart: Called before each chunk with the index of its first frame.
    func generate(
        atLeast frames: Int,
        willStart: (Int) throws -> Void,
        isStopped: () -> Bool,
        put: (NoisedChunk) throws -> Bool
    ) throws {
        var first = 0
        while first < frames, !isStopped() {
            try willStart(first)
            let chunk = try noise()
            guard try put(chunk) else { return }
            // A shot's first latent stands for one frame.
            let missing = chunk.mark.startsShot ? temporalStride - 1 : 0
            first += temporalStride * latentFrames - missing
        }
    }
}
