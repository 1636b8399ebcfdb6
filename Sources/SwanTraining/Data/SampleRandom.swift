import Foundation

/// A random number generator for one training sample, determined by (seed, index) alone.
///
/// A run that is resumed, or that makes its samples on other threads, sees the same samples. Uses
/// SplitMix64 (Steele, Lea, Flood 2014), so the numbers do not depend on the toolchain.
package struct SampleRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// Creates the generator of sample `index`; each `purpose` has an independent sequence.
    package init(seed: UInt64, index: UInt64, purpose: UInt64 = 0) {
        state = Self.mixed(Self.mixed(Self.mixed(seed) ^ index) ^ purpose)
    }

    /// Returns the next 64 random bits.
    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        return Self.mixed(state)
    }

    private static func mixed(_ value: UInt64) -> UInt64 {
        var z = value &+ 0x9e37_79b9_7f4a_7c15
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// Returns a uniform number in [0, 1).
    package mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// Returns a uniform number between two bounds, which may be equal.
    package mutating func uniform(_ low: Double, _ high: Double) -> Double {
        low + (high - low) * uniform()
    }

    /// Returns a uniform integer from a nonempty range.
    package mutating func integer(_ range: Range<Int>) -> Int {
        range.lowerBound + Int(uniform() * Double(range.count))
    }

    /// Returns true with the given probability.
    package mutating func chance(_ probability: Double) -> Bool { uniform() < probability }

    /// Returns a normally distributed number (Box and Muller).
    package mutating func normal(_ deviation: Double = 1) -> Double {
        let radius = (-2 * log(1 - uniform())).squareRoot()
        return deviation * radius * cos(2 * Double.pi * uniform())
    }

    /// Returns a random element of a nonempty list.
    package mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[integer(0..<elements.count)]
    }

    /// Returns a random index, with probability proportional to its weight.
    package mutating func pick(weights: [Double]) -> Int {
        var left = uniform() * weights.reduce(0, +)
        for (index, weight) in weights.enumerated() {
            if left < weight { return index }
            left -= weight
        }
        // Rounding can leave a small remainder: return the last index with a positive weight.
        return weights.lastIndex { $0 > 0 } ?? 0
    }

    /// Returns the elements in random order (Fisher and Yates).
    package mutating func shuffled<Element>(_ elements: [Element]) -> [Element] {
        var result = elements
        for last in stride(from: result.count - 1, to: 0, by: -1) {
            result.swapAt(last, integer(0..<(last + 1)))
        }
        return result
    }
}
