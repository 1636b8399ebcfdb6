import Testing

@testable import SwanModels

/// Slots of chunks in a row of the cache: the rules of the reference and their consequences.
@Suite struct CacheSlotsTests {
    @Test func fillsThenOverwritesSlotsThatAreNotSinks() {
        var slots = CacheSlots(capacity: 6, sinks: 1)
        #expect(slots.place(start: 0, frames: 2) == 0..<2)
        var taken: [Int] = []
        for start in 2..<18 {
            taken.append(slots.place(start: start, frames: 1)?.lowerBound ?? -1)
        }
        #expect(Array(taken.prefix(4)) == [2, 3, 4, 5])
        // A first call with two frames does not touch the first three slots, with or without a sink.
        #expect(Array(taken.dropFirst(4)) == [3, 4, 5, 3, 4, 5, 3, 4, 5, 3, 4, 5])
    }

    @Test func shortRowsWithoutSinksOverwriteTheOldest() {
        var slots = CacheSlots(capacity: 3, sinks: 0)
        #expect(slots.place(start: 0, frames: 2) == 0..<2)
        #expect(
            (2..<9).map { slots.place(start: $0, frames: 1)?.lowerBound } == [2, 0, 1, 2, 0, 1, 2]
        )
    }

    @Test func positionsAreUnbounded() {
        var slots = CacheSlots(capacity: 3, sinks: 0)
        _ = slots.place(start: 0, frames: 1)
        for start in 1..<100_000 { _ = slots.place(start: start, frames: 1) }
        #expect(slots.count == 3)
        #expect(slots.evictable.count <= 3)
    }

    @Test func refusesAChunkThatDoesNotFit() {
        var slots = CacheSlots(capacity: 2, sinks: 2)
        _ = slots.place(start: 0, frames: 2)
        #expect(slots.place(start: 2, frames: 1) == nil)
    }

    @Test func longerChunksKeepTheSinks() {
        var slots = CacheSlots(capacity: 6, sinks: 3)
        for start in 0..<8 { _ = slots.place(start: start, frames: 1) }
        slots.layOut(framesPerChunk: 2)
        for start in stride(from: 8, to: 20, by: 2) {
            #expect(slots.place(start: start, frames: 2)?.lowerBound ?? 0 >= 3)
        }
    }
}
