import Foundation
import SwanTraining
import Testing

@testable import SwanFineTuning

@Suite struct TimestepSamplingTests {
    private func draws(_ sampling: TimestepSampling, _ count: Int = 20_000) -> [Double] {
        (0..<count).map { index in
            var random = SampleRandom(seed: 3, index: UInt64(index))
            return sampling.sigma(&random)
        }
    }

    /// The share of draws below a noise level.
    private func share(_ draws: [Double], below level: Double) -> Double {
        Double(draws.count { $0 < level }) / Double(draws.count)
    }

    @Test func uniform() {
        let drawn = draws(TimestepSampling())
        for level in [0.1, 0.5, 0.9] { #expect(abs(share(drawn, below: level) - level) < 0.02) }
    }

    /// The share below sigma is the normal distribution's at (logit(sigma) - mean) / deviation.
    @Test func logitNormal() {
        var sampling = TimestepSampling()
        sampling.distribution = .logitNormal
        (sampling.mean, sampling.deviation) = (0.5, 0.8)
        let drawn = draws(sampling)
        for level in [0.2, 0.5, 0.8] {
            let z = (log(level / (1 - level)) - 0.5) / 0.8
            let expected = 0.5 * erfc(-z / 2.0.squareRoot())
            #expect(abs(share(drawn, below: level) - expected) < 0.02)
        }
    }

    /// At scale 0, mode sampling is uniform; above, it prefers the middle.
    @Test func mode() {
        var sampling = TimestepSampling()
        sampling.distribution = .mode
        sampling.scale = 0
        #expect(abs(share(draws(sampling), below: 0.3) - 0.3) < 0.02)
        sampling.scale = 1.29
        let drawn = draws(sampling)
        #expect(drawn.allSatisfy { (0...1).contains($0) })
        #expect(share(drawn, below: 0.75) - share(drawn, below: 0.25) > 0.52)
    }

    /// Shifted draws have the distribution that the shifted levels of a schedule have.
    @Test func shift() {
        var sampling = TimestepSampling()
        sampling.shift = 5
        let drawn = draws(sampling)
        for u in [0.1, 0.5, 0.9] {
            let level: Double = 5 * u / (1 + 4 * u)
            #expect(abs(share(drawn, below: level) - u) < 0.02)
        }
        #expect(sampling.spread(2) == [0.625, 0.9375])
    }

    /// Limits cut the distribution; they do not squeeze it.
    @Test func limits() {
        var sampling = TimestepSampling()
        sampling.shift = 3
        sampling.range = 0.4...0.8
        let drawn = draws(sampling)
        #expect(drawn.allSatisfy { (0.4...0.8).contains($0) })
        func u(_ sigma: Double) -> Double { sigma / (3 - 2 * sigma) }
        let expected = (u(0.6) - u(0.4)) / (u(0.8) - u(0.4))
        #expect(abs(share(drawn, below: 0.6) - expected) < 0.02)
        // Limits that are hardly ever met do not hang.
        (sampling.distribution, sampling.mean, sampling.deviation) = (.logitNormal, 20, 0.01)
        sampling.range = 0.1...0.2
        #expect(draws(sampling, 20).allSatisfy { (0.1...0.2).contains($0) })
    }
}
