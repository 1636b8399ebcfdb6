/// Where in a row of a KV cache the next chunk's keys and values go. Units are latent frames.
///
/// The rules are those of StreamDiffusionV2 (models/wan/causal_model.py): while the row fills, frames
/// follow each other and the slots that may be overwritten later are listed; once it is full, every
/// chunk takes the first slot of the list, which then goes to its back. Slots not in the list are sinks.
struct CacheSlots: Sendable, Equatable {
    let capacity, sinks: Int
    /// Ends of the slots that may be overwritten, the next first.
    var evictable: [Int] = []
    /// How much of the row is filled.
    var fill = CacheFill()

    init(capacity: Int, sinks: Int) {
        self.capacity = capacity
        self.sinks = sinks
    }

    /// Frames that hold keys.
    var count: Int { fill.count }

    /// Whether a chunk that ends at frame `newEnd` of the stream overwrites an older one.
    func isFull(at newEnd: Int) -> Bool { newEnd > capacity || count >= capacity }

    /// The slots for `frames` frames that begin at frame `start` of the stream.
    ///
    /// - Parameter again: the same slots will be asked for once more, so they stay first in the list.
    mutating func place(start: Int, frames: Int, again: Bool = false) -> Range<Int>? {
        let newEnd = start + frames
        guard isFull(at: newEnd) else {
            let slots = fill.append(frames, endingAt: newEnd)
            if let next = nextToList(after: newEnd, frames), evictable.last != next {
                evictable.append(next)
            }
            return slots
        }
        fill.overwrite(capacity, endingAt: newEnd)
        // A short row is full before its slots were listed.
        if evictable.isEmpty { layOut(framesPerChunk: frames) }
        guard let slot = evictable.first, slot >= frames else { return nil }
        if !again {
            evictable.removeFirst()
            if slot > sinks { evictable.append(slot) }
        }
        return slot - frames..<slot
    }

    /// The end of the slot that is listed while the row fills, when a chunk has gone up to `newEnd`.
    func nextToList(after newEnd: Int, _ frames: Int) -> Int? {
        let next = newEnd + frames
        return next > sinks && next <= capacity ? next : nil
    }

    /// Lists the slots for chunks of another length, counted back from the end of the row.
    mutating func layOut(framesPerChunk: Int) {
        evictable = slots(framesPerChunk: framesPerChunk)
    }

    /// The ends of the slots behind the sinks, counted back from the end of the row.
    func slots(framesPerChunk: Int) -> [Int] {
        let room = (capacity - sinks) / framesPerChunk
        return (0..<room).map { capacity - (room - 1 - $0) * framesPerChunk }
    }
}

/// How much of a row is filled. Units are latent frames.
struct CacheFill: Sendable, Equatable {
    /// Frames that hold keys.
    private(set) var count = 0
    /// Where in the stream the last chunk ended.
    private var end = 0

    /// The slots behind those that are filled, of which a chunk at the position of the last takes the same.
    mutating func append(_ frames: Int, endingAt newEnd: Int) -> Range<Int> {
        count += newEnd - end
        end = newEnd
        return count - frames..<count
    }

    /// Notes a chunk in a full row.
    mutating func overwrite(_ capacity: Int, endingAt newEnd: Int) {
        count = capacity
        end = newEnd
    }
}
