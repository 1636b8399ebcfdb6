import SwanMedia

/// The frames of a chunk.
struct ChunkFrames: Sendable {
    /// What is encoded, with repetitions of the last frame up to the chunk's size.
    var frames: [VideoFrame]
    /// The capture times of the frames that it returns.
    let captureTimes: [ContinuousClock.Instant]
    /// When the last frame that it waited for was captured.
    let completion: ContinuousClock.Instant
    /// Whether it is the first of a scene, or of the stream.
    let isFirst: Bool
}

/// Divides a stream's frames into chunks, each of one scene.
///
/// A chunk that a cut ends early is completed by repeating its last frame, and so is the last one. No
/// frame waits longer than for a whole chunk: a suspect is judged by the frames that its chunk waits
/// for anyway. If it is the chunk's last frame, it begins the next chunk, and is judged there.
struct SceneFrames: Sendable {
    private struct Entry {
        let frame: TimedFrame
        let digest: FrameDigest?
        var suspect: CutDetector.Suspect?
    }

    /// The frames that the first chunk of a scene has more than others.
    private let more: Int
    /// The frames at a scene's end that its encoder returns later; see `VideoAutoencoder.lookahead`.
    private let lookahead: Int
    /// Nil if cuts are not looked for.
    private var detector: CutDetector?
    /// The frames of the next chunk.
    private var pending: [Entry] = []
    /// The frames of the next scene, while chunks of this one are left.
    private var next: [Entry] = []
    /// The capture times of this scene's frames that no chunk returns yet.
    private var owed: [ContinuousClock.Instant] = []
    private var lastFrame: VideoFrame?
    private var isFirst = true
    /// The number of cuts so far.
    private(set) var cuts = 0

    /// - Parameters:
    ///   - more: How many frames more the first chunk of a scene has.
    ///   - lookahead: The lookahead of the encoder.
    init(more: Int, lookahead: Int, findsCuts: Bool) {
        (self.more, self.lookahead) = (more, lookahead)
        detector = findsCuts ? CutDetector() : nil
    }

    /// The number of frames that no chunk returns yet.
    var left: Int { owed.count + next.count }

    /// The frames that the next chunk needs, for chunks of `size`.
    func needed(size: Int) -> Int {
        next.isEmpty ? max(0, length(size) - pending.count) : 1
    }

    private func length(_ size: Int) -> Int { isFirst ? size + more + lookahead : size }

    // MARK: - Frames and chunks

    /// Adds a frame; `take` then returns the chunk that it completes.
    mutating func add(_ frame: TimedFrame) {
        var entry = Entry(frame: frame, digest: detector.map { _ in FrameDigest(frame.frame) })
        if let digest = entry.digest { entry.suspect = detector?.suspect(digest) }
        if next.isEmpty {
            pending.append(entry)
            owed.append(frame.captureTime)
        } else {
            next.append(entry)
        }
    }

    /// Returns the next chunk of `size` frames, if it is complete; at the end, whatever is left.
    mutating func take(size: Int, atEnd: Bool = false) -> ChunkFrames? {
        if !next.isEmpty { return close(size) }
        while pending.count >= length(size) || atEnd, left > 0 {
            guard let place = suspect(atEnd: atEnd) else { return chunk(size, of: pending.count) }
            guard place.isCut else { return chunk(size, of: place.index) }
            cut(at: place.index)
            guard owed.isEmpty else { return close(size) }
            beginScene()
        }
        return nil
    }

    /// The first frame that begins a scene, or that may do so but has no frame after it.
    private mutating func suspect(atEnd: Bool) -> (index: Int, isCut: Bool)? {
        for index in pending.indices {
            guard let suspect = pending[index].suspect else { continue }
            guard index + 1 < pending.count, let following = pending[index + 1].digest else {
                // What the encoder owes could not be separated from the next chunk.
                return (index, atEnd || lookahead > 0 || index == 0)
            }
            if suspect.isConfirmed(by: following) { return (index, true) }
            pending[index].suspect = nil
        }
        return nil
    }

    /// Moves the frames from `index` on to the next scene.
    private mutating func cut(at index: Int) {
        cuts += 1
        detector?.accept()
        next = Array(pending[index...])
        pending.removeLast(next.count)
        owed.removeLast(next.count)
        next[0].suspect = nil
        guard let first = next[0].digest else { return }
        for later in next.indices.dropFirst() {
            next[later].suspect = next[later].suspect?.remaining(after: first)
        }
    }

    /// Returns a chunk of the old scene, with what is left of it.
    private mutating func close(_ size: Int) -> ChunkFrames {
        defer { if owed.isEmpty { beginScene() } }
        return chunk(size, of: pending.count)
    }

    private mutating func beginScene() {
        (pending, next) = (next, [])
        owed = pending.map(\.frame.captureTime)
        isFirst = true
    }

    /// Returns a chunk of the first `count` pending frames, completed by repetitions of the last.
    private mutating func chunk(_ size: Int, of count: Int) -> ChunkFrames {
        let length = length(size)
        var frames = pending.prefix(count).map(\.frame.frame)
        lastFrame = frames.last ?? lastFrame
        if let lastFrame {
            frames += Array(repeating: lastFrame, count: max(0, length - frames.count))
        }
        let times = Array(owed.prefix(isFirst ? length - lookahead : length).prefix(due(count)))
        let completion = pending.prefix(count).last?.frame.captureTime ?? times.last
        defer { isFirst = false }
        pending.removeFirst(count)
        owed.removeFirst(times.count)
        return ChunkFrames(
            frames: frames,
            captureTimes: times,
            completion: completion ?? .now,
            isFirst: isFirst
        )
    }

    /// How many owed frames a chunk may return that takes `count` of the pending ones.
    private func due(_ count: Int) -> Int { owed.count - (pending.count - count) }
}
