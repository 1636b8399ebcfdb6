import SwanSystem
import Testing
import Torch

@testable import SwanDistributed

/// Messages between stages, maps of blocks, and how they are balanced.
@Suite struct StageTests {
    // MARK: - Headers

    private func message() throws -> StageMessage {
        var message = StageMessage(.work)
        (message.epoch, message.iteration, message.number, message.mark) = (3, 1 << 40, 7, 2)
        message.rows = [
            StageMessage.Row(
                chunk: -2,
                start: 5,
                step: 1,
                company: 0..<3,
                firstTimestep: 612.5,
                prompt: 4
            ),
            StageMessage.Row(
                chunk: 1 << 30,
                start: 1 << 30,
                step: 3,
                company: 3..<4,
                prompt: 1 << 31
            ),
        ]
        message.tensors = [try .zeros([2, 12, 32]), try .zeros([2, 8, 1, 4, 4], .bfloat16)]
        return message
    }

    @Test func headersSurviveTheJourney() throws {
        let header = StageHeader(rows: 4)
        #expect(header.words * 8 == 256)
        let sent = try message()
        let (received, extents) = try header.decoded(header.encoded(sent), mostBytes: 10_000)
        #expect(received.kind == sent.kind && received.rows == sent.rows)
        #expect(received.epoch == 3 && received.iteration == 1 << 40)
        #expect(received.number == 7 && received.mark == 2)
        #expect(extents.map(\.shape) == sent.tensors.map(\.shape))
        #expect(extents.map(\.dtype) == [.float32, .bfloat16])
        #expect(extents.compactMap(\.byteCount).reduce(0, +) == sent.byteCount)
    }

    /// A message that is larger than expected is refused before a buffer is posted for it.
    @Test func messagesThatNobodyExpectsAreRefused() throws {
        let header = StageHeader(rows: 4)
        let words = try header.encoded(message())
        #expect(throws: SwanError.self) { try header.decoded(words, mostBytes: 1_000) }
        for (place, value) in [
            (0, 0), (1, 1), (1, 99 << 32 | 2), (6, 9), (6, 2 | 9 << 32), (7, 12), (8, 77),
            (8, 6 | 9 << 32), (9, 0xFFFF_FFFF), (10, 1 << 40),
        ] {
            var changed = words
            changed[place] = value
            #expect(throws: SwanError.self, "word \(place) = \(value)") {
                try header.decoded(changed, mostBytes: 1 << 20)
            }
        }
        var rows = try message()
        rows.rows = Array(repeating: rows.rows[0], count: 5)
        #expect(throws: SwanError.self) { try header.encoded(rows) }
        rows.rows = [StageMessage.Row(chunk: 1 << 32, start: 0, step: 0, prompt: 0)]
        #expect(throws: SwanError.self) { try header.encoded(rows) }
    }

    /// Whatever the words, decoding returns or throws.
    @Test func arbitraryWordsDoNotTrap() throws {
        let header = StageHeader(rows: 4)
        let words = try header.encoded(message())
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            var changed = words
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let place = Int.random(in: 0..<changed.count, using: &generator)
                let bits = Int.random(in: Int.min...Int.max, using: &generator)
                changed[place] = Bool.random() ? bits : changed[place] ^ (1 << (bits & 63))
            }
            do throws(SwanError) {
                let (_, extents) = try header.decoded(changed, mostBytes: 1 << 20)
                #expect(extents.compactMap(\.byteCount).reduce(0, +) <= 1 << 20)
            } catch {
                #expect(error.code == .invalidData)
            }
        }
    }

    // MARK: - Maps

    @Test func theFirstRanksTakeTheRemainder() throws {
        let map = try BlockMap(blocks: 30, ranks: 4)
        #expect(map.counts == [8, 8, 7, 7])
        #expect(map[0] == 0..<8 && map[3] == 23..<30)
        #expect(
            (0..<30).map { map.owner(of: $0) }
                == (0..<4).flatMap { rank in map[rank].map { _ in rank } }
        )
    }

    /// The balanced map has the least maximum of all maps.
    @Test(
        arguments: [
            ([1, 1, 1], [0, 0, 0]), ([1, 3, 1], [0, 0, 0]), ([1, 1, 1], [4, 0, 2]),
            ([2, 1, 4], [0, 9, 1]), ([1, 1, 1], [90, 0, 0]), ([0, 1, 0], [0, 0, 0]),
        ] as [([Double], [Double])]
    )
    func balancedIsOptimal(perBlock: [Double], fixed: [Double]) throws {
        let costs = StageCosts(perBlock: perBlock, fixed: fixed)
        let total = 12
        var least = Double.infinity
        for a in 1...total - 2 {
            for b in 1...total - 1 - a { least = min(least, costs.slowest([a, b, total - a - b])) }
        }
        for counts in [[4, 4, 4], [10, 1, 1], [1, 10, 1]] {
            let map = try BlockMap(counts: counts)
            guard let new = try costs.balanced(map) else {
                #expect(costs.slowest(counts) <= least * 1.05)
                continue
            }
            #expect(costs.slowest(new.counts) == least)
            #expect(new.total == total && new.epoch == 1)
        }
    }

    @Test func smallGainsMoveNothing() throws {
        let map = try BlockMap(counts: [10, 10])
        let even = StageCosts(perBlock: [1, 1.04], fixed: [0, 0])
        #expect(try even.balanced(map) == nil)
        let unknown = StageCosts(perBlock: [1, .nan], fixed: [0, 0])
        #expect(try unknown.balanced(map) == nil)
    }

    @Test func anOutlierDoesNotChangeTheMedian() {
        var median = RecentMedian(window: 5)
        #expect(median.value.isNaN)
        for value in [2, 2, 90, 2] as [Double] { median.add(value) }
        #expect(median.value == 2)
        for _ in 0..<3 { median.add(7) }
        #expect(median.value == 7)
    }
}
