import Testing

@testable import SwanTiny
@testable import SwanTraining

@Suite struct SampleRandomTests {
    @Test func sameNumbersForSameSeedAndIndex() {
        var a = SampleRandom(seed: 7, index: 3)
        var b = SampleRandom(seed: 7, index: 3)
        #expect((0..<100).allSatisfy { _ in a.next() == b.next() })
    }

    @Test func differentNumbersForDifferentSeedIndexOrPurpose() {
        let first = [
            SampleRandom(seed: 7, index: 3), SampleRandom(seed: 8, index: 3),
            SampleRandom(seed: 7, index: 4), SampleRandom(seed: 3, index: 7),
            SampleRandom(seed: 7, index: 3, purpose: 1),
        ].map { generator in
            var generator = generator
            return generator.next()
        }
        #expect(Set(first).count == first.count)
    }

    @Test func uniformFillsItsRangeEvenly() {
        var random = SampleRandom(seed: 1, index: 0)
        let values = (0..<20_000).map { _ in random.uniform(-2, 4) }
        #expect(values.allSatisfy { $0 >= -2 && $0 < 4 })
        #expect(abs(values.reduce(0, +) / 20_000 - 1) < 0.05)
        let counts = (0..<6_000).reduce(into: [0, 0, 0]) { counts, _ in
            counts[random.integer(0..<3)] += 1
        }
        #expect(counts.allSatisfy { abs($0 - 2_000) < 200 })
    }

    @Test func normalHasItsStandardDeviation() {
        var random = SampleRandom(seed: 2, index: 0)
        let values = (0..<20_000).map { _ in random.normal(3) }
        let mean = values.reduce(0, +) / 20_000
        let variance = values.map { ($0 - mean) * ($0 - mean) }.reduce(0, +) / 20_000
        #expect(abs(mean) < 0.1)
        #expect(abs(variance.squareRoot() - 3) < 0.1)
    }

    @Test func picksByWeight() {
        var random = SampleRandom(seed: 3, index: 0)
        let counts = (0..<8_000).reduce(into: [0, 0, 0]) { counts, _ in
            counts[random.pick(weights: [1, 0, 3])] += 1
        }
        #expect(counts[1] == 0)
        #expect(abs(counts[2] - 6_000) < 300)
    }

    @Test func shuffleKeepsTheElements() {
        var random = SampleRandom(seed: 4, index: 0)
        let shuffled = random.shuffled(Array(0..<50))
        #expect(shuffled.sorted() == Array(0..<50))
        #expect(shuffled != Array(0..<50))
    }
}
