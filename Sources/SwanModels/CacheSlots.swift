/// The slots of a KV cache's row in which the next chunk's keys and values are stored, in latent
/// frames.
///
/// The rules are those of StreamDiffusionV2 (models/wan/causal_model.py): while the row fills,
/// frames follow each other and the slots that may be overwritten later are listed; once it is
/// full, every chunk uses the first slot of the list, which then moves to the back. Slots not in
/// the list are sinks.
struct CacheSlots: Sendable, Equatable {
    let capacity, sinks: Int
    /// The ends of the slots that may be overwritten, in order of use.
    var evictable: [Int] = []
    /// Whether the first chunk may be overwritten, too, like any other.
    var listsFirst = false
    /// How far the row is filled.
    var fill = CacheFill()

    init(capacity: Int, sinks: Int) {
        self.capacity = capacity
        self.sinks = sinks
    }

    /// The number of frames with keys.
    var count: Int { fill.count }

    /// Whether a chunk that ends at frame `newEnd` of the stream overwrites an older one.
    func isFull(at newEnd: Int) -> Bool { newEnd > capacity || count >= capacity }

    /// Returns the slots for `frames` frames that begin at frame `start` of the stream.
    ///
    /// - Parameter again: Whether the same slots will be requested once more, so that they stay
    ///   first in the list.
    mutating func place(start: Int, frames: Int, again: Bool = false) -> Range<Int>? {
        let newEnd = start + frames
        guard isFull(at: newEnd) else {
            let slots = fill.append(frames, endingAt: newEnd)
            if listsFirst, evictable.isEmpty { evictable.append(slots.upperBound) }
            if let next = nextToList(after: newEnd, frames), evictable.last != next {
                evictable.append(next)
            }
            return slots
        }
        fill.overwrite(capacity, endingAt: newEnd)
        // A short row is full before its slots have been listed.
        if evictable.isEmpty { layOut(framesPerChunk: frames) }
        guard let slot = evictable.first, slot >= frames else { return nil }
        if !again {
            evictable.removeFirst()
            if slot > sinks { evictable.append(slot) }
        }
        return slot - frames..<slot
    }

    /// The end of the slot to list while the row fills, after a chunk that ends at `newEnd`.
    func nextToList(after newEnd: Int, _ frames: Int) -> Int? {
        let next = newEnd + frames
        return next > sinks && next <= capacity ? next : nil
    }

    /// Lists the slots for chunks of a different length, counted back from the end of the row.
    mutating func layOut(framesPerChunk: Int) {
        evictable = slots(framesPerChunk: framesPerChunk)
    }

    /// The ends of the slots after the sinks, counted back from the end of the row.
    func slots(framesPerChunk: Int) -> [Int] {
        let room = (capacity - sinks) / framesPerChunk
        return (0..<room).map { capacity - (room - 1 - $0) * framesPerChunk }
    }
}

/// How far a row is filled, in latent frames.
struct CacheFill: Sendable, Equatable {
    /// The number of frames with keys.
    private(set) var count = 0
    /// The end of the last chunk in the stream.
    private(set) var end = 0

    init() {}

    init(count: Int, end: Int) { (self.count, self.end) = (count, end) }

    /// Returns the slots after the filled ones; a chunk at the same position as the last gets the
    /// same slots.
    mutating func append(_ frames: Int, endingAt newEnd: Int) -> Range<Int> {
        count += newEnd - end
        end = newEnd
        return count - frames..<count
    }

    /// Records a chunk in a full row.
    mutating func overwrite(_ capacity: Int, endingAt newEnd: Int) {
        count = capacity
        end = newEnd
    }
}
