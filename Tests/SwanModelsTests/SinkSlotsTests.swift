import Testing
import Torch

@testable import SwanModels

/// Slots chosen on the device equal those chosen by the rules on the host.
@Suite struct SinkSlotsTests {
    /// The reference's rule (models/wan/causal_model.py): a refreshed sink moves to the front of the list.
    private struct Expected {
        var slots: CacheSlots

        mutating func place(_ start: Int, _ similarity: [Float], again: Bool) -> Range<Int>? {
            if let least = similarity.indices.min(by: { similarity[$0] < similarity[$1] }),
                similarity[least] < 0.5
            {
                slots.evictable.insert(least + 1, at: 0)
            }
            return slots.place(start: start, frames: 1, again: again)
        }
    }

    private func place(
        _ slots: inout RowSlots,
        _ start: Int,
        _ similarity: [Float],
        again: Bool = false,
        _ options: KVCacheOptions
    ) throws -> Range<Int>? {
        let place = CachePlace(row: 0, firstFrame: start, frames: 1, options: options)
        try slots.prepare(for: place, on: .cpu)
        try slots.refresh(Tensor(similarity, [similarity.count]), below: options.sinkThreshold)
        switch try slots.place(start: start, frames: 1, again: again) {
        case .known(let range): return range
        case .decided(let slot):
            let first = Int(try slot.item())
            return first..<first + 1
        case nil: return nil
        }
    }

    @Test(arguments: 0..<12) func followsTheRules(seed: UInt64) throws {
        let generator = try Generator(seed: seed)
        let (capacity, sinks) = (3 + Int(seed) % 5, 1 + Int(seed) % 2)
        // First chunks of one or more frames, and one or more steps per slot.
        let (first, passes) = (1 + Int(seed) % 3, 1 + Int(seed) / 6)
        let options = KVCacheOptions(frames: capacity, sinkFrames: sinks, sinkThreshold: 0.5)
        var expected = Expected(slots: CacheSlots(capacity: capacity, sinks: sinks))
        _ = expected.slots.place(start: 0, frames: first)
        var slots = RowSlots.known(CacheSlots(capacity: capacity, sinks: sinks))
        _ = try slots.place(start: 0, frames: first, again: false)
        for start in first..<60 {
            for pass in 1...passes {
                // Rare enough that a list extended by several passes becomes shorter again.
                let random: [Float] = try Tensor.rand([sinks + 1], generator).array()
                let lowest: Float = random[sinks] < 0.25 / Float(passes) ? 0 : 0.6
                let similarity = random.prefix(sinks).map { lowest + (1 - lowest) * $0 }
                let again = pass < passes && expected.slots.isFull(at: start + 1)
                let wanted = expected.place(start, similarity, again: again)
                #expect(try place(&slots, start, similarity, again: again, options) == wanted)
                #expect(slots.count == expected.slots.count)
            }
        }
        guard case .decided(let decided) = slots else {
            Issue.record("the slots are not decided on the device")
            return
        }
        #expect(try decided.known() == expected.slots)
        slots.layOut(framesPerChunk: 1)
        expected.slots.layOut(framesPerChunk: 1)
        guard case .known(let known) = slots else {
            Issue.record("the slots are not known after they were laid out")
            return
        }
        #expect(known == expected.slots)
    }

    @Test func usesARefreshedSinkOnce() throws {
        let options = KVCacheOptions(frames: 4, sinkFrames: 2, sinkThreshold: 0.5)
        var slots = RowSlots.known(CacheSlots(capacity: 4, sinks: 2))
        for start in 0..<4 { _ = try place(&slots, start, [1, 1], options) }
        #expect(try place(&slots, 4, [0.1, 0.2], options) == 0..<1)
        #expect(try place(&slots, 5, [0.9, 0.8], options) == 2..<3)
        #expect(try place(&slots, 6, [0.9, 0.2], options) == 1..<2)
        #expect(try place(&slots, 7, [0.9, 0.8], options) == 3..<4)
    }

    /// For any number of passes that move a sink forward, the list does not grow and slots are reused.
    @Test func boundsTheList() throws {
        let options = KVCacheOptions(frames: 4, sinkFrames: 2, sinkThreshold: 0.5)
        var slots = RowSlots.known(CacheSlots(capacity: 4, sinks: 2))
        for start in 0..<40 {
            for pass in 0..<3 { _ = try place(&slots, start, [0, 1], again: pass < 2, options) }
        }
        var taken: Set<Int> = []
        for start in 40..<80 {
            taken.insert(try place(&slots, start, [1, 1], options)?.lowerBound ?? -1)
        }
        #expect(taken == [0, 2, 3])
    }
}
