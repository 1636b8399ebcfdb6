import SwanSystem
import Torch

private let indexCopyOp = Operator("aten::index_copy_")

/// The slots of a row whose sinks may also be overwritten.
///
/// The next slot depends on the content of the frames and is chosen on their device, so that the
/// host never waits for it. This is `CacheSlots` with its list in a tensor. A sink that is unlike a
/// new frame moves to the front of the list, and leaves it when its slot is used
/// (StreamDiffusionV2, `adapt_sink_threshold`).
struct SinkSlots: Sendable {
    /// The slots that these were made from, with their list as of then.
    private var slots: CacheSlots
    /// The slot listed last that is not a sink.
    private(set) var lastListed: Int?
    /// The ends of the slots that may be overwritten, in order of use, followed by zeros: [size].
    private var list: Tensor
    /// The length of the list: [1].
    private var length: Tensor
    private let places: Tensor  // [size]: 0, 1, ...
    /// The list and its length when all slots that are not sinks are listed.
    private let all: (list: Tensor, length: Tensor)

    /// The capacity of the list. If several passes over a slot move sinks forward, entries beyond
    /// it are dropped.
    private let size: Int

    var count: Int { slots.count }

    /// - Parameter lastListed: The slot listed last that is not a sink; nil for the list's last,
    ///   0 for none.
    init(
        _ slots: CacheSlots,
        on device: Device,
        lastListed: Int? = nil
    ) throws(SwanError) {
        self.slots = slots
        size = 4 * slots.capacity
        self.lastListed = lastListed == 0 ? nil : lastListed ?? slots.evictable.last
        // Integers of this size are exact in float32.
        places = try Tensor((0..<size).map(Float.init), [size]).to(device)
        (list, length) = try Self.upload(slots.evictable, size, device)
        all = try Self.upload(slots.slots(framesPerChunk: 1), size, device)
    }

    private static func upload(
        _ ends: [Int],
        _ size: Int,
        _ device: Device
    ) throws(SwanError) -> (Tensor, Tensor) {
        let padded = ends.prefix(size) + Array(repeating: 0, count: max(0, size - ends.count))
        let length = [Float(min(size, ends.count))]
        return (
            try Tensor(padded.map(Float.init), [size]).to(device),
            try Tensor(length, [1]).to(device)
        )
    }

    /// The slots with the list on the host; waits for the device.
    func known() throws(SwanError) -> CacheSlots {
        var known = slots
        known.evictable = try list.array(of: Float.self).prefix(Int(length.item())).map { Int($0) }
        return known
    }

    /// The slots laid out on the host for a chunk length; does not wait for the device.
    func laidOut(framesPerChunk: Int) -> CacheSlots {
        var known = slots
        known.layOut(framesPerChunk: framesPerChunk)
        return known
    }

    func isFull(at newEnd: Int) -> Bool { slots.isFull(at: newEnd) }

    /// Moves the sink least similar to the new frame to the front, if its similarity is below
    /// `threshold`.
    ///
    /// - Parameter similarity: [sinks].
    mutating func refresh(_ similarity: Tensor, below threshold: Double) throws(SwanError) {
        let isUnlike = try similarity.min([0], keepDim: true).to(.float64) .< threshold  // [1]
        let end = try (-similarity).argmax(0).to(.float32).reshaped(1) + 1
        let longer = try concatenated([end, list.narrowed(0, 0, size - 1)])
        list = try choose(isUnlike, longer, list)
        length = try (length + isUnlike.to(.float32)).clamped(max: Double(size))
    }

    /// Returns the slot for a frame; see `CacheSlots.place`. Nil if all slots are sinks.
    mutating func place(start: Int, again: Bool) throws(SwanError) -> PlacedSlots? {
        let newEnd = start + 1
        guard isFull(at: newEnd) else {
            let filled = slots.fill.append(1, endingAt: newEnd)
            if let next = slots.nextToList(after: newEnd, 1), lastListed != next {
                lastListed = next
                try append(.full([1], Double(next), .float32, list.device), at: length)
            }
            return .known(filled)
        }
        slots.fill.overwrite(slots.capacity, endingAt: newEnd)
        guard slots.capacity > slots.sinks else { return nil }
        // A short row is full before its slots have been listed.
        let isEmpty = try length .== 0
        list = try choose(isEmpty, all.list, list)
        length = try choose(isEmpty, all.length, length)
        let slot = try list.narrowed(0, 0, 1)
        if !again {
            list = try concatenated([list.narrowed(0, 1, size - 1), slot.zerosLike()])
            length = try length - 1
            let isNoSink = try slot .> Double(slots.sinks)
            try append(slot, at: choose(isNoSink, length, length.zerosLike() - 1))
        }
        return .decided(try (slot - 1).to(.int64))
    }

    /// Writes a slot at the first free place of the list, or nowhere if the place is negative.
    private mutating func append(_ slot: Tensor, at place: Tensor) throws(SwanError) {
        list = try choose(places .== place, slot, list)
        length = try maximum(length, place + 1).clamped(max: Double(size))
    }
}

/// The slots of a row of a KV cache, as far as they are known on the host.
enum RowSlots: Sendable {
    case known(CacheSlots)
    case decided(SinkSlots)

    /// The number of latent frames with keys.
    var count: Int {
        switch self {
        case .known(let slots): slots.count
        case .decided(let slots): slots.count
        }
    }

    func isFull(at newEnd: Int) -> Bool {
        switch self {
        case .known(let slots): slots.isFull(at: newEnd)
        case .decided(let slots): slots.isFull(at: newEnd)
        }
    }

    /// Moves the slots to the device if sinks may be overwritten, and to the host if not.
    ///
    /// Waits for the device only for a chunk of a new length whose slots were not laid out before.
    mutating func prepare(for place: CachePlace, on device: Device) throws(SwanError) {
        switch (self, place.options.refreshesSinks(frames: place.frames)) {
        case (.known(let slots), true): self = .decided(try SinkSlots(slots, on: device))
        case (.decided(let slots), false): self = .known(try slots.known())
        case (.known, false), (.decided, true): break
        }
    }

    mutating func refresh(_ similarity: Tensor, below threshold: Double) throws(SwanError) {
        guard case .decided(var slots) = self else { return }
        try slots.refresh(similarity, below: threshold)
        self = .decided(slots)
    }

    mutating func place(start: Int, frames: Int, again: Bool) throws(SwanError) -> PlacedSlots? {
        switch self {
        case .known(var slots):
            let range = slots.place(start: start, frames: frames, again: again)
            self = .known(slots)
            return range.map(PlacedSlots.known)
        case .decided(var slots):
            let placed = try slots.place(start: start, again: again)
            self = .decided(slots)
            return placed
        }
    }

    mutating func layOut(framesPerChunk: Int) {
        switch self {
        case .known(var slots):
            slots.layOut(framesPerChunk: framesPerChunk)
            self = .known(slots)
        case .decided(let slots): self = .known(slots.laidOut(framesPerChunk: framesPerChunk))
        }
    }
}

/// The slots for a chunk.
enum PlacedSlots {
    /// A range of the row's latent frames.
    case known(Range<Int>)
    /// The slot of one latent frame, known only on the device: [1].
    case decided(Tensor)

    /// Writes a chunk's keys or values [N, L, D] into a row [N, slots * tokens, D].
    func write(_ x: Tensor, to row: Tensor, _ tokensPerFrame: Int) throws(SwanError) {
        switch self {
        case .known(let slots):
            var target = try row.narrowed(
                1,
                slots.lowerBound * tokensPerFrame,
                slots.count * tokensPerFrame
            )
            try target.copy(from: x)
        case .decided(let slot):
            let slots = try row.unflattened(1, [-1, tokensPerFrame])  // [N, slots, tokens, D]
            try indexCopyOp.run(slots, 1, slot, x.unsqueezed(1))
        }
    }
}
