/// Where in a row of a KV cache the next chunk's keys and values go. Units are latent frames.
///
/// The rules are those of StreamDiffusionV2 (models/wan/causal_model.py): while the row fills, frames
/// follow each other and the slots that may be overwritten later are listed; once it is full, every
/// chunk takes the first slot of the list, which then goes to its back. Slots not in the list are sinks.
struct CacheSlots: Sendable, Equatable {
    let capacity, sinks: Int
    /// Ends of the slots that may be overwritten, the next first.
    private(set) var evictable: [Int] = []
    /// Frames that hold keys.
    private(set) var count = 0
    private var end = 0

    init(capacity: Int, sinks: Int) {
        self.capacity = capacity
        self.sinks = sinks
    }

    /// Whether a chunk that ends at frame `newEnd` of the stream overwrites an older one.
    func isFull(at newEnd: Int) -> Bool { newEnd > capacity || count >= capacity }

    /// Puts a sink first in the list, once: its slot is not listed again after it was taken.
    mutating func refresh(sink: Int) { evictable.insert(sink + 1, at: 0) }

    /// The slots for `frames` frames that begin at frame `start` of the stream.
    ///
    /// - Parameter again: the same slots will be asked for once more, so they stay first in the list.
    mutating func place(start: Int, frames: Int, again: Bool = false) -> Range<Int>? {
        let newEnd = start + frames
        defer { end = newEnd }
        guard isFull(at: newEnd) else {
            count += newEnd - end
            let next = newEnd + frames
            if next > sinks, next <= capacity, evictable.last != next { evictable.append(next) }
            return count - frames..<count
        }
        count = capacity
        // A short row is full before its slots were listed.
        if evictable.isEmpty { relist(frames: frames) }
        guard let slot = evictable.first, slot >= frames else { return nil }
        if !again {
            evictable.removeFirst()
            if slot > sinks { evictable.append(slot) }
        }
        return slot - frames..<slot
    }

    /// Lists the slots anew for chunks of another length, counted back from the end of the row.
    mutating func relist(frames: Int) {
        let room = (capacity - sinks) / frames
        evictable = (0..<room).map { capacity - (room - 1 - $0) * frames }
    }
}
